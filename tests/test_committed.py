"""The digits study that was made last says what the committed one says; .ci/run makes it anew."""

import json
import subprocess

import pytest

from tests.conftest import ROOT

PATH = "results/digits/metrics.json"


def test_digits_made_here_agree_with_the_committed_ones():
    found = subprocess.run(["git", "show", f"HEAD:{PATH}"], cwd=ROOT, capture_output=True)
    if found.returncode:
        pytest.skip("not a git checkout")
    committed = json.loads(found.stdout)
    made = json.loads((ROOT / PATH).read_text())
    pairs = zip(committed["runs"], made["runs"], strict=True)
    for there, here in pairs:
        assert (there["subset_size"], there["seed"]) == (here["subset_size"], here["seed"])
    for size, there in committed["subset_sizes"].items():
        low, high = there["top_1_error_interval"]
        lower, upper = made["subset_sizes"][size]["top_1_error_interval"]
        assert max(low, lower) <= min(high, upper)
