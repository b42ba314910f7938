"""tests/faults/README.md says which test proves what, and is right."""

import re

import pytest

from tests.conftest import ROOT
from tests.faults.__main__ import FAULTS, README, proofs, table


def test_every_row_has_a_test():
    assert list(FAULTS) == [*range(1, 56), *range(57, 61)]
    assert [row for row, tests in proofs().items() if not tests] == []


def test_the_map_is_up_to_date():
    assert README.read_text() == table(), "run python -m tests.faults"


def test_rows_of_the_map_are_those_of_the_list_of_faults():
    path = ROOT.parent / "shared" / "FAULTS.md"
    if not path.exists():
        pytest.skip("the list of faults that was given is not part of the project")
    rows = {int(row) for row in re.findall(r"^\| (\d+) \|", path.read_text(), re.MULTILINE)}
    assert FAULTS.keys() <= rows
