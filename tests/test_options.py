"""Options of a study: wrong training labels, pretrained weights, some variants of a file."""

import hashlib
import pickle
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from dataworth.commands import export as export_command
from dataworth.commands.planning import plan_run
from dataworth.config import Machine, Recipe, Run, Study
from dataworth.data.label_noise import noisy_labels, training_subset
from dataworth.data.prepare import open_data
from dataworth.data.subsets import stratified_order
from dataworth.errors import InputError
from dataworth.evaluation.evaluator import evaluate_run
from dataworth.launching.remote import Task
from dataworth.launching.split import Estimate, Split
from dataworth.models.pretrained import check_inits, find_weights, read_pretrained
from dataworth.models.registry import build_model
from dataworth.prediction.classifier import from_file
from dataworth.storage.identity import describe_run, with_defaults
from dataworth.training.trainer import Trainer
from tests import made
from tests.conftest import DIGITS, ROOT, command, inside, train
from tests.faults.victims import STEP, Victim, start_server

RECIPE = Recipe(
    dataset="digits", model="alexnet-small", image_size=32, augment="crop", epochs=2, batch_size=32,
    learning_rate=0.02,
)  # fmt: skip
WORDS = [*DIGITS, "--epochs", "1", "--subset-sizes", "60", "--experiment-id", "s"]
HEAD = ("25.weight", "25.bias")
SOURCE = "source.safetensors"
CPU = Machine(device="cpu", checkpoint_seconds=0, jobs=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder with the weights of a run that was normalised by its own data set."""
    with inside(tmp_path_factory.mktemp("source")) as folder:
        words = [*WORDS, "--normalise", "dataset", "--dropout", "0.1"]
        assert train(*words) == 0
        shutil.copy(folder / "checkpoints/s/60/seed-42/best.safetensors", SOURCE)
    return folder


@pytest.fixture
def place(source, workplace):
    (workplace / "cache").symlink_to(source / "cache")
    shutil.copy(source / SOURCE, workplace)
    return workplace


def planned(recipe, folder, data, size=60):
    init_file = check_inits([recipe], 10).get(recipe.init)
    return plan_run(Run(recipe=recipe, subset_size=size, seed=1), data, folder, init_file=init_file)


def trainer_of(run, data):
    return Trainer.build(run.run.recipe, CPU, data, run.init_file)


OPTIONS = {
    "init": {"init": SOURCE, "label_noise": 0.3},
    "frozen": {"init": SOURCE, "freeze": "body"},
}

labelled = st.integers(2, 6).flatmap(
    lambda k: st.lists(st.integers(0, k - 1), min_size=30, max_size=200).map(
        lambda rest: np.array([*range(k), *rest])
    )
)


@settings(max_examples=20)
@given(labelled, st.floats(0.01, 0.98), st.integers(0, 2**32))
def test_wrong_labels_have_their_share_in_each_class_of_every_subset(labels, share, seed):
    labels = 3 * labels  # classes that the training set lacks are no one's wrong label
    noisy = noisy_labels(labels, share, seed)
    assert set(noisy) <= set(labels)
    assert noisy.dtype == labels.dtype
    order = stratified_order(labels, seed)
    for subset in (order, order[: len(order) // 2]):
        for label in np.unique(labels):
            members = subset[labels[subset] == label]
            num_wrong = (noisy[members] != label).sum()
            assert abs(num_wrong - share * len(members)) < 2.5
    less = noisy_labels(labels, share / 2, seed)
    np.testing.assert_array_equal(less[less != labels], noisy[less != labels])


def test_the_wrong_class_is_uniform_and_the_seed_decides():
    labels = np.arange(40_000) % 5
    noisy = noisy_labels(labels, 0.5, 7)
    counts = np.histogram2d(labels, noisy, bins=5)[0]
    np.testing.assert_allclose(counts[~np.eye(5, dtype=bool)], 1000, rtol=0.15)
    np.testing.assert_array_equal(noisy, noisy_labels(labels, 0.5, 7))
    agreement = (noisy_labels(labels, 0.5, 8) == noisy).mean()
    assert 0.25 < agreement < 0.4  # 1/4 both right, 1/4 both wrong, of these 1/4 alike


def test_unused_options_leave_what_a_run_stores_as_it_was(place):
    data = open_data(RECIPE, CPU)
    run = Run(recipe=RECIPE, subset_size=60, seed=1)
    stored = describe_run(run)["recipe"]
    assert not {"label_noise", "init", "freeze"} & set(stored)
    assert stored == describe_run(run.replace(recipe=RECIPE.replace(label_noise=0.0)))["recipe"]
    assert Recipe(**with_defaults(stored)) == RECIPE
    train_split = data.dataset.splits["train"]
    indices = np.arange(60)
    labels = training_subset(train_split, indices, 0.0, 1).labels
    np.testing.assert_array_equal(labels, train_split.labels[:60])


def test_a_run_trains_on_its_wrong_labels_and_is_scored_on_correct_ones(place, monkeypatch):
    data, seen = open_data(RECIPE, CPU), []
    run = planned(RECIPE.replace(label_noise=0.3, epochs=1), place / "s", data)
    trainer, original = trainer_of(run, data), Trainer.train_step

    def step(self, inputs, labels, *rest):
        seen.append(labels.clone())
        original(self, inputs, labels, *rest)

    monkeypatch.setattr(Trainer, "train_step", step)
    assert trainer.train(run, lambda row: None) == "complete"
    split = data.dataset.splits["train"]
    wrong = noisy_labels(split.labels, 0.3, 1)[run.indices]
    assert np.array_equal(np.sort(torch.cat(seen)), np.sort(wrong))
    num_changed = int((wrong != split.labels[run.indices]).sum())
    assert 10 < num_changed < 26
    assert run.directory.config["num_changed_labels"] == num_changed
    scores = evaluate_run(run.directory, trainer.pixels, 100, place, threading.Event())
    assert (scores.label_noise, scores.num_changed_labels) == (0.3, num_changed)
    classifier = from_file(run.directory.path / "best.safetensors", trainer.device)
    answers = classifier.logits(data.images["train"][split.rows[run.indices]]).argmax(1)
    error = scores.splits["train"].top_1_error
    assert error == pytest.approx((answers != split.labels[run.indices]).mean())
    assert error != pytest.approx((answers != wrong).mean())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_run_with_an_option_is_resumed_to_the_same_bits(place, options):
    data = open_data(RECIPE, CPU)
    recipe = RECIPE.replace(**options)

    def dies(row):
        if row.epoch == 1:
            raise KeyboardInterrupt

    cut, whole = (planned(recipe, place / name, data) for name in ("cut", "whole"))
    with pytest.raises(KeyboardInterrupt):
        trainer_of(cut, data).train(cut, dies)
    assert cut.directory.load_last()["step"] == 2  # within the first epoch
    for run in (cut, whole):
        assert trainer_of(run, data).train(run, lambda row: None) == "complete"
    weights = [run.directory.path / "best.safetensors" for run in (cut, whole)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
@pytest.mark.fault(1)
@pytest.mark.parametrize("freeze", ["none", "body"])
def test_killed_with_options_the_same_command_finishes_with_the_same_bits(place, freeze):
    start_server()
    words = [*WORDS, "--batch-size", "10", "--init", place / SOURCE, "--freeze", freeze]
    words += ["--label-noise", "0.3", "--checkpoint-seconds", "0"]
    weights = [place / name / "s/60/seed-42/best.safetensors" for name in ("cut", "whole")]
    victim = Victim("dataworth.commands.train:train", [*words, "--checkpoint-dir", "cut"], [STEP])
    assert victim.until("step", 4)
    assert victim.strike() == -signal.SIGKILL
    for name in ("cut", "whole"):
        again = Victim("dataworth.commands.train:train", [*words, "--checkpoint-dir", name])
        assert again.end() == 0, again.text
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_body_is_pretrained_and_the_head_is_that_of_fresh_weights(place):
    data, pretrained = open_data(RECIPE, CPU), load_file(SOURCE)
    run = planned(RECIPE.replace(init=SOURCE), place / "s", data)
    trainer, fresh = trainer_of(run, data), Trainer.build(RECIPE, CPU, data)
    for each in (trainer, fresh):
        each.state.restart(1)
    for name, value in trainer.state.model.state_dict().items():
        expected = fresh.state.model.state_dict()[name] if name in HEAD else pretrained[name]
        assert torch.equal(value, expected), name
    assert trainer.channel_stats == data.channel_stats("dataset") != fresh.channel_stats


def test_other_classes_get_a_head_of_their_own(place):
    pretrained = read_pretrained(RECIPE.replace(init=SOURCE), find_weights(SOURCE), 3)
    assert not set(HEAD) & pretrained.body.keys()


def test_a_frozen_body_keeps_weights_and_statistics(place):
    data, pretrained = open_data(RECIPE, CPU), load_file(SOURCE)
    run = planned(RECIPE.replace(**OPTIONS["frozen"]), place / "s", data)
    trainer = trainer_of(run, data)
    assert trainer.train(run, lambda row: None) == "complete"
    trained = load_file(run.directory.path / "best.safetensors")
    assert [name for name in trained if not torch.equal(trained[name], pretrained[name])] == [
        "25.bias", "25.weight",
    ]  # fmt: skip
    (group,) = trainer.state.optimizer.param_groups
    assert [tuple(p.shape) for p in group["params"]] == [(10, 512), (10,)]


def test_a_task_of_a_cluster_finds_the_weights_and_their_normalisation_travels_on(
    place, monkeypatch
):
    data = open_data(RECIPE, CPU)
    run = planned(RECIPE.replace(init=SOURCE), place / "s", data)
    task = pickle.loads(pickle.dumps(Task.of(run, CPU)))
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    assert task(data) == ""
    (place / SOURCE).unlink()  # no longer needed
    evaluate_run(run.directory, trainer_of(run, data).pixels, 500, place, threading.Event())
    with np.load(place / "predictions" / run.run.path.parent / "seed-1.npz") as file:
        logits = file["test_logits"]
    classifier = from_file(run.directory.path / "best.safetensors", torch.device("cpu"))
    assert classifier.channel_stats == data.channel_stats("dataset")
    test = data.dataset.splits["test"]
    np.testing.assert_allclose(
        classifier.logits(data.images[test.source][test.rows]), logits, rtol=1e-3, atol=1e-4
    )


def write_source(kind):
    """Replace the pretrained weights by a file that cannot be used."""
    if kind == "cut":
        Path(SOURCE).write_bytes(made.half(Path(SOURCE).read_bytes()))
    elif kind == "foreign":
        save_file(load_file(SOURCE), SOURCE)
    elif kind in ("nan", "short", "head"):
        from safetensors import safe_open

        with safe_open(SOURCE, "pt") as file:
            metadata = file.metadata()
        weights = load_file(SOURCE)
        name = HEAD[0] if kind == "head" else sorted(set(weights) - set(HEAD))[0]
        weights[name] = weights[name].float() * torch.nan
        weights.pop(name) if kind == "short" else None
        save_file(weights, SOURCE, metadata)
    elif kind == "folder":
        Path(SOURCE).unlink()
        Path(SOURCE).mkdir()
    else:
        Path(SOURCE).write_bytes(made.checkpoint(kind))


@pytest.mark.fault(21, 51)
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("cut", "is no safetensors file"),
        ("evil_pickle", "is no safetensors file"),
        ("evil_torch_zip", "is no safetensors file"),
        ("foreign", "does not say how its inputs were normalised"),
        ("folder", "Is a directory"),
        ("nan", "holds infinite or NaN weights"),
        ("short", "is absent in the file"),
    ],
)
def test_weights_that_cannot_be_used_are_one_line(place, kind, message):
    write_source(kind)
    with pytest.raises(InputError, match=message) as caught:
        check_inits([RECIPE.replace(init=SOURCE)], 10)
    assert str(caught.value).startswith("--init: ")
    assert "\n" not in str(caught.value)
    assert not (place / "PWNED").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init": "nowhere.safetensors"}, "/nowhere.safetensors: No such file"),
        ({"init": SOURCE, "model": "resnet18"}, "the weights of alexnet-small, does not fit"),
        ({"init": "ResNet18_Weights.V1"}, "did you mean ResNet18_Weights.IMAGENET1K_V1"),
        ({"init": "ResNet18_Weights.IMAGENET1K_V1"}, r"hub/checkpoints/.* is missing; download"),
        ({"init": "a\0b"}, "is not a path"),
        ({"freeze": "body"}, "--freeze body: needs --init"),
    ],
)
def test_what_init_and_freeze_cannot_mean_is_one_line(place, monkeypatch, changes, message):
    monkeypatch.setenv("TORCH_HOME", str(place))
    with pytest.raises(InputError, match=message) as caught:
        check_inits([RECIPE.replace(**changes)], 10)
    assert "\n" not in str(caught.value)


def test_wrong_weights_end_the_command_before_anything_is_written(place, capsys):
    assert train(*WORDS, "--init", "nowhere") == 2
    assert capsys.readouterr().err.startswith("error: --init: ")
    assert not (place / "checkpoints").exists()


@pytest.mark.fault(18)
def test_resume_refuses_other_weights_and_a_finished_study_needs_none(place, capsys):
    words = [*WORDS, "--init", SOURCE, "--subset-sizes"]
    assert train(*words, "60") == 0
    assert "have seen images of this data set" in capsys.readouterr().out
    content = Path(SOURCE).read_bytes()
    Path(SOURCE).unlink()
    assert train(*words, "60") == 0
    assert command(export_command.export, "--experiment-id", "s") == 0
    card = Path("results/exported/README.md").read_text()
    assert "it was trained from the pretrained weights source.safetensors, on" in card
    assert "init source.safetensors" in card
    Path(SOURCE).write_bytes(content)
    write_source("head")
    assert train("--resume", "s", "--subset-sizes", "60", "80") == 2
    assert "init_sha256: " in capsys.readouterr().err


def test_torchvisions_weights_are_read_from_the_cache_of_torch_hub(workplace, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(workplace))
    name, folder = "ShuffleNet_V2_X0_5_Weights.IMAGENET1K_V1", workplace / "hub" / "checkpoints"
    entry = torchvision.models.get_weight(name).value
    folder.mkdir(parents=True)
    recipe = RECIPE.replace(model="shufflenet_v2_x0_5", init=name)

    def store(content):
        digest = hashlib.sha256(content).hexdigest()
        monkeypatch.setattr(entry, "url", f"https://example.org/tiny-{digest[:8]}.pth")
        path = folder / f"tiny-{digest[:8]}.pth"
        path.write_bytes(content)
        return path

    model = build_model("shufflenet_v2_x0_5", 1000, 32).state_dict()
    torch.save({k: v for k, v in model.items() if "num_batches" not in k}, workplace / "w")
    path = store((workplace / "w").read_bytes())
    pretrained = read_pretrained(recipe, find_weights(name), 10)
    assert pretrained.path == path
    assert pretrained.channel_stats == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert model.keys() - pretrained.body.keys() == {"fc.weight", "fc.bias"}
    assert torch.equal(pretrained.body["conv1.0.weight"], model["conv1.0.weight"])
    path.write_bytes(path.read_bytes()[:-1])
    for content in (None, pickle.dumps(made.Opens()), made.checkpoint("evil_torch_zip")):
        message = "is damaged: its SHA-256 begins with" if content is None else "holds no weights"
        if content is not None:
            store(content)
        with pytest.raises(InputError, match=message):
            read_pretrained(recipe, find_weights(name), 10)
    assert not (workplace / "PWNED").exists()


def test_options_without_an_effect_on_speed_are_not_timed_anew():
    estimate = Estimate([], CPU, None, None)
    estimate.dataset = type("Data", (), {"splits": {"train": range(100)}})
    timed = []
    estimate._measure = lambda split, recipe, seconds: timed.append(recipe)
    for changes in ({}, {"label_noise": 0.2}, {"init": SOURCE}):
        run = Run(recipe=RECIPE.replace(**changes), subset_size=60, seed=1)
        estimate.of_run(run, Split())
    assert len(set(timed)) == 1


def test_some_variants_of_a_file_are_trained_and_others_added_later(place, capsys):
    (place / "c.yaml").write_text("variants: {a: {}, b: {label_noise: 0.2}, c: {init: nowhere}}")
    words = [*WORDS, "--config", "c.yaml", "--variants"]

    def trained():
        return {path.parts[2] for path in Path().glob("checkpoints/s/*/60/seed-42/done")}

    assert train(*words, "a") == 0
    assert trained() == {"a"}
    assert train(*words, "b") == 0
    assert trained() == {"a", "b"}
    for name in "ab":
        Path(f"checkpoints/s/{name}/60/seed-42/done").unlink()
    assert train("--resume", "s", "--variants", "a") == 0
    assert trained() == {"a"}
    capsys.readouterr()
    for others, listed in ((words, "a, b, c"), (["--resume", "s", "--variants"], "a, b")):
        assert train(*others, "d") == 2
        assert f"--variants: no variant 'd'; the study has {listed}\n" in capsys.readouterr().err


def test_the_file_of_options_is_a_study_of_the_acceptance(capsys, place):
    path = ROOT / "configs" / "options.yaml"
    words = ["--config", path, *DIGITS, "--subset-sizes", "1.0", "0.5", "0.25", "--seeds", "1"]
    assert train(*words, "--variants", "baseline", "noise-20", "--list") == 0
    rows = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert rows.count("baseline") == rows.count("noise-20") == 3
    (text,) = [line for line in path.read_text().splitlines() if "--dataset photos" in line]
    assert "--config configs/options.yaml" in text
    assert Study().variants == ()
