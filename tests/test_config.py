"""Records, flags and config files say the same thing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from dataworth.commands.flags import (
    DataFlags,
    EvalFlags,
    ExportFlags,
    ForecastFlags,
    PredictFlags,
    TrackFlags,
    TrainFlags,
)
from dataworth.commands.parsing import parse, parse_train, read_config, to_words, to_yaml
from dataworth.config import Machine, Recipe, Run, Study
from dataworth.errors import InputError
from dataworth.explorer.flags import ExplorerFlags
from tests.conftest import ROOT

ALL_FLAGS = [
    TrainFlags, EvalFlags, DataFlags, ForecastFlags, PredictFlags, ExportFlags, TrackFlags,
    ExplorerFlags,
]  # fmt: skip

sizes = st.lists(st.floats(1e-4, 1) | st.integers(2, 10**6), min_size=1, max_size=5, unique=True)
studies = st.builds(
    Study,
    subset_sizes=sizes.map(tuple),
    seeds=st.lists(st.integers(0, 99), min_size=1, unique=True).map(tuple),
)
recipes = st.builds(
    Recipe,
    dataset=st.sampled_from(["digits", "a/b", "my photos"]),
    label_column=st.none() | st.sampled_from(["label", "fine_label"]),
    learning_rate=st.floats(1e-6, 1),
    epochs=st.integers(1, 500),
    model=st.sampled_from(["alexnet", "resnet18"]),
    optimizer=st.sampled_from(["sgd", "adam", "adamw"]),
    label_noise=st.floats(0, 0.99),
    init=st.none() | st.sampled_from(["my weights.safetensors", "ResNet18_Weights.IMAGENET1K_V1"]),
    freeze=st.sampled_from(["none", "body"]),
)


machines = st.builds(
    Machine,
    device=st.sampled_from(["auto", "cpu", "cuda:1"]),
    workers=st.integers(0, 64),
    tensorboard_histograms=st.booleans(),
    cache_dir=st.sampled_from(["cache", "my cache"]).map(Path),
)


def parse_words(words):
    flags = parse(TrainFlags, words, TrainFlags())
    return flags.recipe, flags.study


@given(recipes, studies, machines)
def test_flags_mean_the_records_they_came_from(recipe, study, machine):
    flags = parse(TrainFlags, to_words(recipe, study, machine), TrainFlags())
    assert (flags.recipe, flags.study, flags.machine) == (recipe, study, machine)


@given(recipes, studies, machines)
def test_config_files_mean_the_records_they_came_from(tmp_path_factory, recipe, study, machine):
    path = tmp_path_factory.mktemp("config") / "c.yaml"
    path.write_text(to_yaml(recipe, study, machine))
    assert read_config(path) == (recipe, study, machine)


@given(recipes)
def test_saved_records_read_back(recipe):
    assert Recipe(**recipe.model_dump(mode="json")) == recipe


def test_flag_beats_file_beats_default(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("epochs: 7\nbatch_size: 16\n")
    recipe = parse_train(["--config", str(path), "--epochs", "3"]).recipe
    assert (recipe.epochs, recipe.batch_size, recipe.momentum) == (3, 16, 0.9)


def test_defaults_are_the_papers():
    recipe, study = parse_words([])
    assert (recipe.model, recipe.image_size, recipe.batch_size) == ("alexnet", 227, 128)
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum) == ("sgd", 0.01, 0.9)
    assert (recipe.weight_decay, recipe.dropout, recipe.epochs) == (5e-4, 0.5, 90)
    assert study.subset_sizes == (1.0, 0.5, 0.25, 0.125, 0.0625)
    assert study.seeds == (42,)
    assert recipe.dataset == "timm/mini-imagenet"


def test_the_three_sizes_of_the_readme():
    words = ["--subset-sizes", "1.0", "0.5", "0.25"]
    assert parse_words(words)[1].subset_sizes == (1.0, 0.5, 0.25)


def test_records_cannot_change():
    with pytest.raises(ValidationError, match="frozen"):
        Recipe().epochs = 1


def test_size_in_the_path_is_never_rounded():
    for size, name in ((0.0625, "0.0625"), (1, "1.0"), (5000, "5000"), (1 / 3, repr(1 / 3))):
        (run,) = Study(subset_sizes=(size,), seeds=(3,)).runs(Recipe())
        assert str(run.path) == f"{name}/seed-3"
        assert isinstance(run, Run)


def test_a_subset_size_may_be_a_fraction(tmp_path):
    sizes = (1.0, 0.25, 1 / 64, 1 / 3, 5000)
    words = ["--subset-sizes", "1/1", "1/4", "1/64", "1/3", "5000"]
    assert parse_train(words).study.subset_sizes == sizes
    (tmp_path / "c.yaml").write_text("subset_sizes: [1.0, 1/4, 1/64, 1/3, 5000]\n")
    assert read_config(tmp_path / "c.yaml")[1].subset_sizes == sizes
    assert parse(PredictFlags, ["--subset-size", "1/64"], PredictFlags()).subset_size == 1 / 64


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda p: p.name)
def test_every_config_is_valid_and_says_how_to_run_it(path):
    recipe, study, _ = read_config(path)
    assert study.runs(recipe)
    assert f"--config configs/{path.name}" in path.read_text()


@pytest.mark.fault(34, 49)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--subset-sizes 0", "0.0 is neither a share in (0, 1] nor a whole number"),
        ("--subset-sizes 1.5", "1.5 is neither"),
        ("--subset-sizes -0.5", "-0.5"),
        ("--subset-sizes nan", "nan"),
        ("--subset-sizes inf", "inf"),
        ("--subset-sizes 50%", "--subset-sizes: '50%' is not a number; write 0.5"),
        ("--subset-sizes 0.5 0.50", "0.5 is given twice"),
        ("--subset-sizes 1/2 0.5", "0.5 is given twice"),
        ("--subset-sizes 3/2", "--subset-sizes: 3/2 is no share in (0, 1]"),
        ("--subset-sizes 0/2", "--subset-sizes: 0/2 is no share in (0, 1]"),
        ("--subset-sizes 1/0", "--subset-sizes: 1/0 is no share in (0, 1]"),
        ("--subset-sizes 1/2/3", "--subset-sizes: '1/2/3' is not a number"),
        ("--subset-sizes", "--subset-sizes: give at least one value"),
        ("--seeds", "--seeds: give at least one value"),
        ("--seeds 1 1", "1 is given twice"),
        ("--seeds -1", "-1"),
        ("--seeds 1.5", "--seeds: '1.5' is not a whole number"),
        ("--seeds 1 x 3", "--seeds: 'x' is not a whole number"),
        ("--seeds 1,2,3", "'1,2,3' is not a whole number; separate numbers with spaces"),
        ("--epochs 0", "--epochs: input should be greater than 0 (got 0)"),
        ("--epochs many", "--epochs: 'many' is not a whole number"),
        ("--validation-fraction 10", "(got 10.0); 10 % is 0.1"),
        ("--learning-rate nan", "--learning-rate"),
        ("--dropout 1", "--dropout"),
        ("--optimizer lion", "'lion'"),
        ("--epoch 3", "did you mean --epochs"),
        ("stray", "stray"),
        ("--experiment-id ../up", "'../up' is not a name"),
        ("--experiment-id /tmp/x", "'/tmp/x' is not a name"),
        ("--resume ..", "'..' is not a name"),
    ],
)
def test_bad_words_are_one_line(words, message):
    with pytest.raises(InputError) as caught:
        parse_train(words.split())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.fault(49)
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch: 3", "unknown key 'epoch'; did you mean epochs?"),
        ("epochs: many", "epochs"),
        ("epochs: [", "not a plain YAML file"),
        ("subset_sizes: [0.5, 0.5]", "0.5 is given twice"),
        ("subset_sizes: [3/2]", "3/2 is no share in (0, 1]"),
        ("!!python/object/apply:os.system ['touch PWNED']", "not a plain YAML file"),
        ("just words", "expected lines such as"),
        ("3: 4", "unknown key 3"),
        ("seeds: 1", "--seeds: input should be a list (got 1); write it as a list: [1]"),
        ("subset_sizes: 1/4", "(got '1/4'); write it as a list: [1/4]"),
        ("variants: {a: 1}", "--variants: input should be a mapping (got 1)"),
        ("seeds: {a: 1}", "--seeds: input should be a list (got {'a': 1})"),
        ("dataset: null", "dataset"),
        ("epochs: true", "--epochs: true where a number or a text is wanted"),
        ("seeds: [true]", "--seeds: true where"),
        ("subset_sizes: [0.5, true]", "--subset-sizes: true where"),
        ("learning_rate: yes", "--learning-rate: true where"),
        ("workers: no", "--workers: false where"),
        ("gpus_per_run: on", "--gpus-per-run: true where"),
        ("epochs: 3\nseeds: [1]\n'epochs': 4", "line 3: 'epochs' is given twice"),
        ("variants: &v {x: *v}", "not a plain YAML file: found unconstructable recursive node"),
        ("seeds: &v [1, *v]", "not a plain YAML file"),
        ("seeds: []", "--seeds: give at least one value"),
        ('cache_dir: "~\\0"', "is not a path"),
        ("variants: {a: {epochs: 3}, a: {epochs: 4}}", "line 1: 'a' is given twice"),
    ],
)
def test_bad_config_files_are_one_line(workplace, text, message):
    (workplace / "c.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        read_config(workplace / "c.yaml")
    assert message in str(caught.value)
    assert "c.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [p.name for p in workplace.iterdir()] == ["c.yaml"]


def test_a_boolean_setting_is_read_and_merged_keys_are_no_duplicates(workplace):
    text = (
        "variants:\n  a: &a {epochs: 3}\n  b: {<<: *a, epochs: 4}\ntensorboard_histograms: true\n"
    )
    (workplace / "c.yaml").write_text(text)
    _, study, machine = read_config(workplace / "c.yaml")
    assert machine.tensorboard_histograms
    assert study.variants == (("a", (("epochs", 3),)), ("b", (("epochs", 4),)))


@pytest.mark.fault(49)
def test_a_tilde_in_a_config_file_is_expanded_as_by_the_shell(workplace, monkeypatch):
    monkeypatch.setenv("HOME", str(workplace))
    text = "dataset: ~/photos\ncache_dir: ~/c\ncheckpoint_dir: ~\nresults_dir: a~b\n"
    (workplace / "c.yaml").write_text(text.replace(": ~\n", ": '~'\n"))
    recipe, _, machine = read_config(workplace / "c.yaml")
    assert recipe.dataset == f"{workplace}/photos"
    folders = (machine.cache_dir, machine.checkpoint_dir, machine.results_dir)
    assert folders == (workplace / "c", workplace, Path("a~b"))


def test_missing_config_file_is_named(workplace):
    with pytest.raises(InputError, match=r"nowhere\.yaml: No such file"):
        read_config(workplace / "nowhere.yaml")


def test_help_and_bad_flags_answer_without_torch():
    code = (
        "import runpy, sys\n"
        "for script in ('train.py', 'eval.py'):\n"
        "    for word in ('--help', '--nonsense'):\n"
        "        sys.argv = [script, word]\n"
        "        try: runpy.run_path(script, run_name='__main__')\n"
        "        except SystemExit as end: print(script, word, end.code)\n"
        "print(sorted({'torch', 'datasets', 'pandas', 'scipy'} & set(sys.modules)))"
    )
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("eval.py --nonsense 2\n[]\n")
    assert [line for line in done.stdout.splitlines() if line.startswith(("train.py", "eval.py"))][
        :3
    ] == ["train.py --help 0", "train.py --nonsense 2", "eval.py --help 0"]
    assert done.stdout.count("--experiment-id") >= 2
    assert done.stderr.count("--nonsense") == 2
    assert "Traceback" not in done.stderr


def test_help_states_every_flag_and_default(capsys):
    with pytest.raises(SystemExit, match="0"):
        parse_train(["--help"])
    shown = capsys.readouterr().out
    for record in (Recipe, Study, Machine):
        for name in set(record.model_fields) - {"variants"}:  # of config files alone
            assert f"--{name.replace('_', '-')}" in shown


@pytest.mark.parametrize("record", ALL_FLAGS)
def test_help_gives_no_default_twice_and_none_that_says_nothing(record, capsys):
    with pytest.raises(SystemExit, match="0"):
        parse(record, ["--help"], record())
    shown = " ".join(capsys.readouterr().out.replace("\u2502", " ").split())
    assert "--help" in shown
    assert not re.search(r"None|False|\(default: \)|\(default[^)]*\) \(default", shown)


def test_yaml_is_plain():
    assert yaml.safe_load(to_yaml(Recipe(), Study(), Machine()))["seeds"] == [42]
