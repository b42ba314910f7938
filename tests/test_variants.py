"""A study of several recipes: one branch, one row, one curve and one law each."""

import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from dataworth.commands import forecast as forecast_command
from dataworth.commands.eval_output import compare_exponents
from dataworth.commands.parsing import parse_train
from dataworth.config import Recipe, Study
from dataworth.errors import InputError
from dataworth.evaluation.results import read_results
from dataworth.findings.curves import headline
from dataworth.findings.study import read_findings
from dataworth.variants import SHARED
from tests.conftest import DIGITS, command, evaluate, inside, train

WORDS = ["--dataset", "digits", "--image-size", "32", "--batch-size", "64", "--epochs", "3"]
WORDS += ["--learning-rate", "0.05", "--subset-sizes", "0.5", "0.25"]
TWO = """variants:
  eager: {learning_rate: 0.02}
  idle: {optimizer: adam, augment: none, learning_rate: 0.003}
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A finished and evaluated study of two recipes."""
    with inside(tmp_path_factory.mktemp("pair")) as folder:
        (folder / "c.yaml").write_text(TWO)
        words = [*WORDS, "--model", "alexnet-small", "--config", "c.yaml", "--experiment-id", "p"]
        assert train(*words) == 0
        assert evaluate() == 0
    return folder


def test_each_variant_has_its_own_branch_and_recipe(pair):
    for name, rule in (("eager", "sgd"), ("idle", "adam")):
        config = json.loads(
            (pair / "checkpoints" / "p" / name / "0.25" / "seed-42" / "config.json").read_text()
        )
        assert config["variant"] == name
        assert config["recipe"]["optimizer"] == rule


def test_results_hold_a_curve_and_a_law_for_each(pair):
    folder = pair / "results" / "p"
    results = read_results(folder / "metrics.json")
    assert [run.variant for run in results.runs] == ["eager"] * 2 + ["idle"] * 2
    assert {run.model for run in results.runs} == {"alexnet-small"}
    assert set(pd.read_csv(folder / "metrics.csv")["variant"]) == {"eager", "idle"}
    for name, part in results.variants().items():
        assert {run.variant for run in part.runs} == {part.variant} == {name}
        assert set(part.subset_sizes) <= {"0.25", "0.5"}
    laws = json.loads((folder / "scaling_law.json").read_text())["variants"]
    assert set(laws) == {"eager", "idle"}
    assert (folder / "figures" / "top_1_error.png").exists()
    assert (folder / "figures" / "idle" / "learning_curves.png").exists()


def test_answers_of_two_variants_correlate_as_their_logits_say(pair):
    folder = pair / "results" / "p"
    wrong = {}
    for name in ("eager", "idle"):
        for size in ("0.25", "0.5"):
            with np.load(folder / "predictions" / name / size / "seed-42.npz") as file:
                wrong[name, size] = file["test_logits"].argmax(axis=1) != file["test_labels"]
    both = [
        np.corrcoef(wrong["eager", a], wrong["idle", b])[0, 1]
        for a in ("0.25", "0.5") for b in ("0.25", "0.5")
    ]  # fmt: skip
    rows = read_results(folder / "metrics.json").answer_correlations
    stored = {row.variants: row.top_1_correlation for row in rows}
    assert stored["eager", "idle"] == pytest.approx(np.mean(both))
    within = np.corrcoef(wrong["idle", "0.25"], wrong["idle", "0.5"])[0, 1]
    assert stored["idle", "idle"] == pytest.approx(within)


def test_a_baseline_that_is_no_variant_is_one_line(pair, study, workplace, capsys):
    for folder, line in (
        (pair, "--baseline is one of eager, idle"), (study, "the study has no variants"),
    ):  # fmt: skip
        with inside(folder):
            assert evaluate("--baseline", "nobody") == 2
        assert line in capsys.readouterr().err


def test_the_finished_one_of_several_is_evaluated_alone(pair, workplace):
    shutil.copytree(pair, workplace, dirs_exist_ok=True)
    for path in (workplace / "checkpoints" / "p" / "idle").rglob("done"):
        path.unlink()
    assert evaluate("--full", "--conformal", "--report") == 3
    folder = workplace / "results" / "p"
    for file in ("eager/per_class.csv", "eager/conformal.csv", "figures/eager/reliability.png"):
        assert (folder / file).exists()
    assert "--full --report" not in (folder / "report.html").read_text()


def test_curves_are_compared_on_one_error(pair):
    findings = read_findings(pair / "results" / "p")
    assert {headline(variant.curves).metric for variant in findings} == {"top_5_error"}
    findings[0].curves.pop("top_5_error")
    findings[0].curves["top_1_error"].runs["top_5_error"] = 0.0  # meaningless
    metrics = [headline(variant.curves).metric for variant in findings]
    assert metrics == ["top_1_error", "top_5_error"]
    table = compare_exponents(findings)
    assert "top-1 error" in table
    assert "top-5" not in table
    assert "NaN" not in table


def test_a_variant_may_have_the_name_of_a_number(pair, workplace):
    shutil.copytree(pair / "results" / "p", workplace / "p")
    for file in ("metrics.json", "epochs.csv"):
        text = (workplace / "p" / file).read_text()
        (workplace / "p" / file).write_text(text.replace("eager", "1e-2").replace("idle", "NA"))
    findings = read_findings(workplace / "p")
    assert [variant.name for variant in findings] == ["1e-2", "NA"]
    assert [len(variant.epochs) for variant in findings] == [6, 6]


def test_a_study_of_several_is_resumed_as_it_was_asked(pair, workplace, capsys):
    shutil.copytree(pair, workplace, dirs_exist_ok=True)
    shutil.rmtree(workplace / "checkpoints" / "p" / "idle" / "0.25")
    weights = workplace / "checkpoints" / "p" / "idle" / "0.25" / "seed-42" / "best.safetensors"
    assert evaluate() == 3
    assert "idle/0.25/seed-42: not finished" in capsys.readouterr().err
    assert train("--resume") == 0
    assert "4 of 4 runs complete" in capsys.readouterr().out
    assert weights.read_bytes() == (pair / weights.relative_to(workplace)).read_bytes()


def test_other_variants_of_the_same_names_are_refused(pair, workplace, capsys):
    shutil.copytree(pair, workplace, dirs_exist_ok=True)
    words = [*WORDS, "--model", "alexnet-small", "--experiment-id", "p"]
    assert train(*words) == 2
    assert "is a study of several recipes" in capsys.readouterr().err
    (workplace / "c.yaml").write_text("variants: {idle: {momentum: 0.5}}")
    assert train(*words, "--config", "c.yaml") == 2
    assert "idle: " in capsys.readouterr().err


def test_forecast_asks_which_curve(pair, capsys):
    path = pair / "results" / "p" / "metrics.json"
    assert command(forecast_command.forecast, path, "--metric", "top_1_error") == 2
    assert "--variant is one of eager, idle" in capsys.readouterr().err
    words = ["--metric", "top_1_error", "--variant", "idle"]
    assert command(forecast_command.forecast, path, *words) == 2
    assert "2 training set sizes; a law takes 3" in capsys.readouterr().err


def test_several_models_and_budgets_make_a_curve_for_each_combination():
    flags = parse_train(["--model", "alexnet", "resnet18", "--budget", "epochs", "steps"])
    runs = flags.study.replace(subset_sizes=(1.0,)).runs(flags.recipe)
    assert [str(run.path) for run in runs] == [
        f"{name}/1.0/seed-42"
        for name in ("alexnet-epochs", "alexnet-steps", "resnet18-epochs", "resnet18-steps")
    ]
    assert [(run.recipe.model, run.recipe.budget) for run in runs][2] == ("resnet18", "epochs")
    (one,) = parse_train([*DIGITS, "--subset-sizes", "1.0"]).study.runs(Recipe())
    assert str(one.path) == "1.0/seed-42"


def test_several_models_are_listed_with_their_steps(workplace, capsys):
    assert train(*WORDS, "--model", "alexnet-small", "resnet18", "--list") == 0
    out = capsys.readouterr().out
    assert len(re.findall(r"alexnet-small +0\.25|resnet18 +0\.25", out)) == 2
    assert list(workplace.iterdir()) == []


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({"1.0": {}}, "'1.0' is no name for a variant"),
        ({"../up": {}}, "'../up' is no name"),
        ({"a": {"epoch": 3}}, "unknown key 'epoch'; did you mean epochs?"),
        ({"a": {"learning_rate": -1}}, "--learning-rate"),
        ({"a": 3}, "--variants"),
        (3, "--variants"),
        *(({"a": {field: "x"}}, f"a: {field} is the same for all") for field in SHARED),
    ],
)
def test_bad_variants_are_one_line(variants, message):
    with pytest.raises(InputError) as caught:
        Study(variants=variants).runs(Recipe())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_variants_survive_every_spelling(tmp_path):
    from dataworth.commands.parsing import read_config, to_yaml

    study = Study(variants={"a": {"epochs": 3, "learning_rate": 0.5}, "b": {}})
    path = tmp_path / "c.yaml"
    path.write_text(to_yaml(Recipe(), study))
    assert read_config(path)[1] == study
    assert Study(**study.model_dump(mode="json")) == study
