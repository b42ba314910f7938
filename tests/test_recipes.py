"""Augmentation, normalisation and the training budget."""

import json

import numpy as np
import pytest
import torch

from dataworth.commands.parsing import parse_train
from dataworth.commands.planning import plan_run
from dataworth.config import Machine, Recipe, Run
from dataworth.data.augmentation import AugmentedEpoch
from dataworth.data.loaders import get_loader, get_train_loader
from dataworth.data.normalisation import normalise
from dataworth.data.pixels import PixelStores
from dataworth.data.prepare import open_data
from dataworth.data.transforms import resized_crop
from dataworth.storage.run_directory import RunDirectory
from dataworth.training.trainer import Trainer
from tests.conftest import QUICK, ROOT, train

CPU = torch.device("cpu")
RECIPE = Recipe(dataset="digits", model="alexnet-small", image_size=32, epochs=2, batch_size=60)
AUGMENTATIONS = ["paper", "random-resized-crop", "crop", "flip", "none"]


@pytest.fixture
def digits(workplace):
    return open_data(RECIPE, Machine())


def test_resized_crops_are_torchvisions():
    from torchvision.transforms.v2 import functional

    pixels = torch.randint(0, 256, (3, 40, 40, 3), dtype=torch.uint8)
    boxes = [
        (3, 5, 0, 31, 20),
        (0, 0, 1, 40, 40),
        (10, 30, 1, 12, 9),
    ]  # top left mirror height width
    crops = resized_crop(pixels, 24, *torch.tensor(boxes).T)
    for image, ours, (top, left, flipped, height, width) in zip(pixels, crops, boxes, strict=True):
        theirs = functional.resized_crop(
            image.permute(2, 0, 1).float(), top, left, height, width, [24, 24], antialias=True
        )
        theirs = theirs.flip(-1) if flipped else theirs
        torch.testing.assert_close(ours, theirs.permute(1, 2, 0), rtol=0, atol=2e-3)


def test_resized_boxes_fit_and_cover_the_published_range():
    augmented = AugmentedEpoch.draw(20_000, 256, 227, 1, 0, "random-resized-crop")
    assert ((augmented.top >= 0) & (augmented.top + augmented.height <= 256)).all()
    assert ((augmented.left >= 0) & (augmented.left + augmented.width <= 256)).all()
    area, ratio = augmented.height * augmented.width / 256**2, augmented.width / augmented.height
    assert area.min() == pytest.approx(0.08, abs=0.005)
    assert area.max() == pytest.approx(1, abs=0.005)
    assert (ratio.min(), ratio.max()) == pytest.approx((3 / 4, 4 / 3), abs=0.03)


@pytest.mark.parametrize("augment", AUGMENTATIONS)
@pytest.mark.parametrize("epoch", [0, 1])
def test_both_pixel_stores_give_the_same_crops_in_each_epoch(digits, augment, epoch):
    recipe = RECIPE.replace(augment=augment)
    host, device = (
        list(
            get_train_loader(
                PixelStores(digits, CPU, residency), np.arange(130), recipe
            ).epoch_images(7, epoch)
        )
        for residency in ("host", "device")
    )
    for ours, theirs in zip(host, device, strict=True):
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


def test_augmentations_crop_and_flip_as_named():
    epochs = {name: AugmentedEpoch.draw(500, 36, 32, 1, 0, name) for name in AUGMENTATIONS}
    assert all(
        np.array_equal(augmented.order, epochs["paper"].order) for augmented in epochs.values()
    )
    crops = {name for name, augmented in epochs.items() if np.ptp(augmented.top)}
    flips = {name for name, augmented in epochs.items() if augmented.flipped.any()}
    assert crops == {"paper", "crop", "random-resized-crop"}
    assert flips == {"paper", "flip", "random-resized-crop"}


def test_digits_are_cropped_and_not_mirrored():
    recipe = parse_train(["--config", str(ROOT / "configs" / "digits.yaml")]).recipe
    augmented = AugmentedEpoch.draw(500, 36, 32, 1, 0, recipe.augment)
    assert np.ptp(augmented.top)
    assert not augmented.flipped.any()


def test_channel_stats_of_the_training_split_are_exact_and_stored(digits):
    split = digits.dataset.splits["train"]
    pixels = torch.from_numpy(digits.images["train"][split.rows])
    unit = normalise(pixels, digits.channel_stats("dataset"))
    assert unit.mean((0, 2, 3)).abs().max() < 1e-4
    assert (unit.std((0, 2, 3)) - 1).abs().max() < 1e-4
    (stored,) = digits.folder.glob("train/moments-*.json")
    assert tuple(map(tuple, json.loads(stored.read_text()))) == digits.channel_stats("dataset")


@pytest.mark.parametrize(("name", "low", "high"), [("none", 0, 1), ("dataset", -9, 9)])
def test_normalise_reaches_training_and_evaluation(digits, name, low, high):
    stores, recipe = PixelStores(digits, CPU), RECIPE.replace(normalise=name, augment="none")
    for loader in (
        get_train_loader(stores, np.arange(50), recipe),
        get_loader(stores, digits.dataset.splits["test"], recipe),
    ):
        images = next(iter(loader))[0]
        assert low <= images.min() < images.max() <= high
        assert (images.mean().abs() < 0.2) == (name == "dataset")


@pytest.mark.parametrize("n", [1293, 700, 323, 61, 40])
def test_a_budget_of_steps_is_the_same_for_every_size(digits, n):
    loader = get_train_loader(
        PixelStores(digits, CPU), np.arange(n), RECIPE.replace(budget="steps", epochs=3)
    )
    batches = [labels for epoch in range(3) for _, labels in loader.epoch_batches(5, epoch)]
    assert len(batches) == 3 * 22  # 1,293 images in batches of at most 60
    whole_passes = len(batches) // loader.num_batches
    labels = torch.cat(batches[: whole_passes * loader.num_batches])
    expected = whole_passes * np.bincount(loader.split.labels, minlength=10)
    assert np.array_equal(np.bincount(labels, minlength=10), expected)


def test_an_epoch_resumes_at_any_step(digits):
    loader = get_train_loader(
        PixelStores(digits, CPU), np.arange(200), RECIPE.replace(budget="steps")
    )
    whole = [labels for _, labels in loader.epoch_batches(5, 1)]
    for start in (0, 3, 7, 21, 22):
        rest = [labels for _, labels in loader.epoch_batches(5, 1, start)]
        assert len(rest) == len(whole) - start
        assert all(torch.equal(a, b) for a, b in zip(whole[start:], rest, strict=True))


def test_a_run_with_a_budget_of_steps_is_resumed_to_the_same_bits(digits, workplace):
    recipe = RECIPE.replace(budget="steps", augment="random-resized-crop", normalise="dataset")
    run = Run(recipe=recipe, subset_size=0.25, seed=1)

    def weights(folder, *stops):
        machine = Machine(checkpoint_seconds=0 if stops else 3600)
        bench = Trainer.build(recipe, machine, digits)
        for stop in stops:
            with pytest.raises(KeyboardInterrupt):
                bench.train(plan_run(run, bench.data, workplace / folder), stop)
        assert (
            bench.train(plan_run(run, bench.data, workplace / folder), lambda _: None) == "complete"
        )
        return RunDirectory(workplace / folder / run.path).load_best()

    def dies(row):
        if row.epoch == 2:
            raise KeyboardInterrupt

    cut, whole = weights("cut", dies), weights("whole")
    stored = RunDirectory(workplace / "cut" / run.path).config["pixel_moments"]
    assert tuple(map(tuple, stored.values())) == digits.channel_stats("dataset")
    assert cut[1] == whole[1]
    assert all(torch.equal(tensor, whole[0][name]) for name, tensor in cut[0].items())


def test_list_prints_the_steps_of_the_budget(workplace, capsys):
    words = [*QUICK, "--list", "--subset-sizes", "1.0", "0.25"]
    assert train(*words, "--budget", "steps") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.split()[0] in ("0.25", "1.0")] == [
        "63",
        "63",
    ]


def test_a_study_of_an_earlier_version_without_a_setting_resumes(workplace, capsys):
    words = [*QUICK, "--augment", "paper"]  # the default
    words += ["--epochs", "1", "--subset-sizes", "0.25", "--experiment-id", "old"]
    assert train(*words) == 0
    for path in workplace.glob("checkpoints/old/**/*.json"):
        content = json.loads(path.read_text())
        for name in ("augment", "normalise", "budget"):
            content.get("recipe", {}).pop(name, None)
        path.write_text(json.dumps(content))
    assert train(*words) == 0
    assert train(*words, "--budget", "steps") == 2
    assert "budget: 'epochs' stored, 'steps' requested" in capsys.readouterr().err
