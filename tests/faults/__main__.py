"""Which test proves which row: ``python -m tests.faults`` writes README.md anew."""

import ast

from tests.conftest import ROOT

README = ROOT / "tests" / "faults" / "README.md"
FAULTS = {
    1: "SIGKILL at any step",
    2: "SIGKILL while a snapshot is written",
    3: "SIGTERM",
    4: "SIGINT once; twice",
    5: "signals during import, cache build, validation, evaluation",
    6: "closed standard output, hang-up",
    7: "parent killed, workers alive",
    8: "one run of many fails",
    9: "a worker process is killed",
    10: "power loss: the order of syncs and renames",
    11: "a flipped bit in a snapshot or weight file",
    12: "truncated, empty, digest missing",
    13: "all snapshots bad",
    14: "disk full in mid-save",
    15: "output directory unwritable, or a file in its place",
    16: "another file system, a symlink, odd names",
    17: "umask",
    18: "resumed with a changed recipe, class list or data",
    19: "resumed with changed machine settings",
    20: "checkpoint of another schema",
    21: "hostile pickle as a checkpoint",
    22: "complete study rerun",
    23: "evaluation of a partial study",
    24: "metrics.csv with a torn last line",
    25: "two commands, one study",
    26: "lock of a dead process",
    27: "two commands build the same cache",
    28: "non-finite loss or gradient",
    29: "non-finite weights or logits at evaluation",
    30: "constant logits, ties",
    31: "fewer than 6 classes",
    32: "one image left over by the batches",
    33: "size below one image per class",
    34: "sizes that are no sizes",
    35: "nesting and balance",
    36: "fits that nothing identifies",
    37: "one thread against two",
    38: "corrupt, truncated, null image",
    39: "odd modes, turned, tiny, long, animated images",
    40: "decompression bomb, text named .jpg",
    41: "labels missing, strings, negative, null, with gaps",
    42: "classes that train lacks, one class, missing splits",
    43: "hub unreachable, offline, wrong id",
    44: "truncated parquet; cache changed on disk",
    45: "cache killed in mid-build, or for another size",
    46: "not enough disk",
    47: "identical images in train and test",
    48: "image size below the model's minimum",
    49: "unknown keys, wrong types, broken YAML, hostile files",
    50: "no terminal, NO_COLOR, narrow terminal",
    51: "weights that do not fit the model or the classes",
    52: "too few calibration images, alpha of 0 or 1",
    53: "folders with non-images, with none, with one bad image",
    54: "the explorer: large upload, bomb, text, path traversal, ten clicks at once",
    55: "Grad-CAM for a model without a convolution map",
    57: "a data-parallel worker dies",
    58: "the end of data-parallel training",
    59: "one process against two",
    60: "a worker or a node of a cluster dies; no GPU in the cluster",
}


def proofs():
    """Rows of the table -> names of the tests that are marked with them."""
    found = {row: [] for row in FAULTS}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                for row in sorted(set(_rows(node))):
                    found[row].append(f"{path.relative_to(ROOT / 'tests')}::{node.name}")
    return found


def _rows(function):
    for mark in function.decorator_list:
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
            yield from map(ast.literal_eval, mark.args)


def table():
    """The content of README.md."""
    lines = ["# What is tested against", "", "Written by `python -m tests.faults` from the marks"]
    lines += ["`@pytest.mark.fault(row)` of the tests; a test compares.", ""]
    lines += ["| # | fault | tests |", "|---|---|---|"]
    for row, tests in proofs().items():
        names = "<br>".join(f"`{name}`" for name in tests)
        lines.append(f"| {row} | {FAULTS[row]} | {names} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    README.write_text(table())
