"""Committed results: digits trained here agree with them, and they are read as written."""

import json
import subprocess
from pathlib import Path

import pytest

from dataworth.evaluation.records import StudyResults
from dataworth.evaluation.results import read_results, summarised, write_results
from dataworth.findings.curves import start_of
from dataworth.storage.identity import with_defaults
from tests.conftest import ROOT, evaluate, train

PATH = "results/digits/metrics.json"


@pytest.fixture
def committed():
    process = subprocess.run(["git", "show", f"HEAD:{PATH}"], cwd=ROOT, capture_output=True)
    if process.returncode:
        pytest.skip("not a git checkout")
    return process.stdout


def assert_agreement(committed, trained):
    stored = with_defaults(committed.recipe)  # settings that are newer than the file
    assert stored == trained.recipe, "commit the results of `make study`"
    assert trained.subset_sizes
    for size, summary in trained.subset_sizes.items():
        low, high = committed.subset_sizes[size].top_1_error_interval
        new_low, new_high = summary.top_1_error_interval
        assert max(low, new_low) <= min(high, new_high)


@pytest.mark.slow
def test_small_digits_trained_here_agree_with_the_committed_ones(committed, workplace):
    words = ["--config", ROOT / "configs" / "digits.yaml", "--experiment-id", "digits"]
    assert train(*words, "--subset-sizes", "0.0625", "0.125") == 0
    assert evaluate() == 0
    assert_agreement(StudyResults.model_validate_json(committed), read_results(Path(PATH)))


@pytest.mark.slow
def test_digits_of_make_study_agree_with_the_committed_ones(committed):
    if committed == (ROOT / PATH).read_bytes():
        pytest.skip("`make study` did not run here")  # .ci/run does
    committed, trained = StudyResults.model_validate_json(committed), read_results(ROOT / PATH)
    assert [run.path for run in committed.runs] == [run.path for run in trained.runs]
    assert_agreement(committed, trained)


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/metrics.json")), ids=str)
def test_committed_results_are_written_as_they_were_read(path, tmp_path):
    write_results(tmp_path, read_results(path))
    assert (tmp_path / "metrics.json").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*/metrics.json")), ids=str)
def test_committed_means_are_those_of_the_stored_runs(path):
    stored = read_results(path)
    results = summarised(stored)
    assert [run.status for run in results.runs] == [run.status for run in stored.runs]
    for size, summary in results.subset_sizes.items():
        for k in (1, 5):
            found = stored.subset_sizes[size]
            assert found.error(k) == pytest.approx(summary.error(k))
            assert found.interval(k) == pytest.approx(summary.interval(k)), (
                f"run `python scripts/update_results.py results/{stored.experiment_id}`"
            )


def test_older_results_lack_variant_model_chance_error_and_training(tmp_path):
    content = json.loads((ROOT / PATH).read_text())
    for key in ("chance_error", "training", "model"):
        content.pop(key)
    for run in content["runs"]:
        run.pop("variant")
        run.pop("model")
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    results = read_results(tmp_path / "metrics.json")
    assert results.chance == {"top_1_error": 0.9, "top_5_error": 0.5}
    assert list(results.variants()) == ["digits"]
    assert results.training == {}
    write_results(tmp_path, results)
    assert json.loads((tmp_path / "metrics.json").read_text()) == content


@pytest.mark.parametrize(
    ("folder", "variant", "start"),
    [
        ("digits", None, "scratch"),
        ("tiny-imagenet-100-steps", None, "unknown"),
        ("mini-imagenet-84-steps", "epochs", "scratch"),
        ("mini-imagenet-84-steps", "steps", "unknown"),
        ("worth-tiny-imagenet-100", "pretrained", "pretrained"),
    ],
)
def test_a_study_says_what_its_runs_start_from_unless_the_steps_are_equal(folder, variant, start):
    variants = read_results(ROOT / "results" / folder / "metrics.json").variants()
    results = variants[variant] if variant else next(iter(variants.values()))
    assert start_of(results) == start
