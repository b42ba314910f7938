"""tests/faults/README.md says which test proves what, and is right."""

from tests.faults.__main__ import FAULTS, README, proofs, table


def test_every_row_has_a_test():
    assert list(FAULTS) == [*range(1, 56), *range(57, 61)]
    assert [row for row, tests in proofs().items() if not tests] == []


def test_the_map_is_up_to_date():
    assert README.read_text() == table(), "run python -m tests.faults"
