"""Groups: subsets and splits take whole ones, leaks are found, intervals widen."""

import hashlib

import datasets as hf
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from PIL import Image

from dataworth.commands.planning import StudyPlan
from dataworth.config import Recipe
from dataworth.data.datasets import DATASETS, load
from dataworth.data.groups import shared_groups
from dataworth.data.splits import Split, assign_splits
from dataworth.data.subsets import num_images, stratified_order, subset_indices
from dataworth.errors import InputError
from dataworth.evaluation.intervals import (
    Grouped,
    cluster_variance,
    effective_images,
    wilson_interval,
)
from dataworth.evaluation.per_class import class_drops, paired_drop
from dataworth.evaluation.records import Environment, RunScores, SplitScores, StudyResults
from dataworth.evaluation.results import read_results, summarised
from dataworth.evaluation.tables import runs_table
from dataworth.findings.curves import points
from dataworth.findings.study import describe_data
from dataworth.storage.run_directory import RunDirectory
from dataworth.storage.study_directory import DataSummary, SharedGroups, images_of_sizes
from tests import made
from tests.conftest import QUICK, evaluate, train

seeds = st.integers(0, 2**40)


@st.composite
def pure_groups(draw):
    """Labels and groups of some images on disk order; each group has images of one class."""
    sizes = draw(st.lists(st.lists(st.integers(1, 12), min_size=1, max_size=6), max_size=4))
    groups = [(label, size) for label, row in enumerate(sizes) for size in row] or [(0, 1)]
    labels = np.repeat([label for label, _ in groups], [size for _, size in groups])
    codes = np.repeat(np.arange(len(groups)), [size for _, size in groups])
    mixed = np.random.default_rng(draw(seeds)).permutation(len(labels))
    return labels[mixed], codes[mixed]


@st.composite
def any_groups(draw):
    """Labels and groups of some images, drawn independently."""
    n = draw(st.integers(1, 40))
    image = st.lists(st.integers(0, 5), min_size=n, max_size=n)
    return np.array(draw(image)), np.array(draw(image)) * 7 + 3


@settings(max_examples=25)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=200).map(np.array), seeds)
def test_groups_of_one_image_give_the_order_without_groups(labels, seed):
    names = np.random.default_rng(seed).permutation(len(labels))
    order = stratified_order(labels, seed, names)
    assert order.tolist() == stratified_order(labels, seed).tolist()


@settings(max_examples=25)
@given(any_groups(), seeds)
def test_order_is_a_permutation_that_divides_no_group(images, seed):
    labels, groups = images
    order = stratified_order(labels, seed, groups)
    assert sorted(order) == list(range(len(labels)))
    assert (np.diff(groups[order]) != 0).sum() == len(np.unique(groups)) - 1


@settings(max_examples=25)
@given(any_groups(), seeds, st.floats(0.05, 1), st.floats(0.05, 1))
def test_subsets_of_whole_groups_are_nested(images, seed, a, b):
    labels, groups = images
    subsets = []
    for share in sorted((a, b)):
        try:
            chosen = subset_indices(labels, share, seed, groups)
        except InputError:
            reject()
        assert set(np.flatnonzero(np.isin(groups, groups[chosen]))) == set(chosen)
        subsets.append(set(chosen))
    assert subsets[0] <= subsets[1]


@settings(max_examples=25)
@given(any_groups(), seeds, st.data())
def test_the_subset_is_the_prefix_nearest_to_the_images_asked_for(images, seed, data):
    labels, groups = images
    count = data.draw(st.integers(2, len(labels) + 1))
    try:
        drawn = len(subset_indices(labels, count, seed, groups))
    except InputError:
        reject()
    ordered = groups[stratified_order(labels, seed, groups)]
    prefixes = [i for i in range(1, len(labels)) if ordered[i] != ordered[i - 1]] + [len(labels)]
    assert drawn == min(prefixes, key=lambda size: abs(size - count))


@settings(max_examples=25)
@given(pure_groups(), seeds)
def test_each_class_is_half_a_group_from_its_share_at_most(images, seed):
    labels, groups = images
    order = stratified_order(labels, seed, groups)
    totals, sizes = np.bincount(labels), np.bincount(groups)
    largest = np.array([sizes[groups[labels == c]].max(initial=0) for c in range(len(totals))])
    for end in (i for i in range(1, len(order)) if groups[order[i]] != groups[order[i - 1]]):
        prefix, last = order[:end], groups[order[end - 1]]
        counts = np.bincount(labels[prefix], minlength=len(totals))
        label = labels[order[end - 1]]  # the position of the last group
        position = (counts[label] - sizes[last] / 2) / totals[label]
        assert (np.abs(counts - position * totals) <= largest / 2 + 1e-9).all()


@settings(max_examples=25)
@given(pure_groups(), seeds)
def test_the_smallest_valid_size_that_is_named_is_valid(images, seed):
    labels, groups = images
    try:
        subset_indices(labels, 1e-9, seed, groups)
        reject()
    except InputError as error:
        smallest = int(str(error).split(" is ")[-1].split()[0])
    if smallest == 1:
        reject()  # a size of 1 is a share
    chosen = subset_indices(labels, smallest, seed, groups)
    assert len(chosen) == smallest
    assert set(labels[chosen]) == set(labels)


def test_grouped_order_is_the_same_on_every_machine():
    labels = np.repeat(np.arange(20), 60)
    order = stratified_order(labels, 42, np.arange(1200) // 7).astype("<i8")
    assert hashlib.sha256(order.tobytes()).hexdigest()[:16] == "d7976c88e725d034"


def table(labels, groups=None, paths=None):
    paths = paths or [None] * len(labels)
    cells = [{"bytes": made.png(2, 2, bytes(14)), "path": path} for path in paths]
    columns = {"image": cells, "label": list(labels)}
    names = hf.ClassLabel(names=[f"c{i}" for i in range(max(labels) + 1)])
    features = {"image": hf.Image(), "label": names}
    if groups is not None:
        columns["patient"] = list(groups)
        features["patient"] = hf.Value(
            "int64" if isinstance(columns["patient"][0], int) else "string"
        )
    return hf.Dataset.from_dict(columns, features=hf.Features(features))


@pytest.fixture
def crafted(monkeypatch):
    """Load some tables by a recipe."""

    def load_crafted(splits, **recipe):
        monkeypatch.setitem(DATASETS, "crafted", lambda: splits)
        return load(Recipe(dataset="crafted", **recipe))

    return load_crafted


FRAMES = [(i // 5) % 4 for i in range(200)]  # 40 videos of five frames of one class
VIDEOS = [i // 5 for i in range(200)]


def test_no_split_can_be_carved_from_one_group():
    split = Split("train", np.arange(40), np.arange(40) % 2, np.zeros(40, np.int64))
    with pytest.raises(InputError, match=r"no test split, and .* 40 images of train \(groups: 1\)"):
        assign_splits({"train": split}, Recipe(), 2)


def test_validation_and_test_are_carved_in_whole_groups(crafted):
    data = crafted({"train": table(FRAMES, VIDEOS)}, group_column="patient")
    groups = {role: set(split.groups) for role, split in data.splits.items()}
    assert {role: len(split) for role, split in data.splits.items()} == {
        "train": 160, "validation": 20, "test": 20,
    }  # fmt: skip
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["validation"]
    assert not groups["validation"] & groups["test"]
    assert "whole groups: 4; class shares off by 0.0 points at most" in data.notes[0]
    assert not shared_groups(data.splits)


def test_groups_are_names_whatever_their_type_and_the_same_in_every_split(crafted):
    splits = {
        "train": table(FRAMES, [f"p{i}" for i in VIDEOS]),
        "test": table(FRAMES[:20], ["p3"] * 5 + ["new"] * 15),
    }
    data = crafted(splits, group_column="patient")
    numbers = crafted(
        {"train": table(FRAMES, VIDEOS), "test": table(FRAMES[:20], [3] * 5 + [99] * 15)},
        group_column="patient",
    )
    for loaded in (data, numbers):
        (shared,) = (pair for pair in shared_groups(loaded.splits) if pair.also_in == "train")
        assert (shared.split, shared.num_groups, shared.num_images) == ("test", 1, 5)


def test_file_names_give_the_same_groups_as_a_column(crafted):
    paths = [f"{label:05}/{video:05}_{i % 5:05}.ppm" for i, (label, video) in
             enumerate(zip(FRAMES, VIDEOS, strict=True))]  # fmt: skip
    by_column = crafted({"train": table(FRAMES, VIDEOS)}, group_column="patient")
    for pattern in (r"/(\d+)_", r"\d+/\d+(?=_)"):
        by_name = crafted({"train": table(FRAMES, None, paths)}, group_from=pattern)
        for role, split in by_column.splits.items():
            assert split.rows.tolist() == by_name.splits[role].rows.tolist()
            assert len(set(split.groups)) == len(set(by_name.splits[role].groups))


def test_groups_of_class_folders_are_found_in_the_path_below_the_data_set(tmp_path):
    folder = made.write_class_folders(tmp_path / "video_7_of", 2, 20)
    for file in folder.glob("*/*.jpg"):
        file.rename(file.with_name(f"video_{int(file.stem) // 4}_{file.name}"))
    data = load(Recipe(dataset=str(folder), group_from=r"video_(\d+)"))
    groups = np.concatenate([split.groups for split in data.splits.values()])
    assert sorted(np.bincount(groups)) == [4] * 10


@pytest.mark.parametrize(
    ("recipe", "reason"),
    [
        ({"group_column": "patients"}, "has no column 'patients'; the columns are image, label"),
        ({"group_from": "video_"}, "no image of crafted has a group; a file is 'a1.png'"),
        (
            {"group_from": "a"},
            "100 of 200 file names of split train do not match",
        ),
    ],
)
def test_groups_that_cannot_be_read_are_refused(crafted, recipe, reason):
    paths = [f"{'ab'[i % 2]}{(i + 1) % 2}.png" for i in range(200)]
    paths[0] = "a1.png"
    with pytest.raises(InputError, match=reason):
        crafted({"train": table(FRAMES, None, paths)}, **recipe)


def test_images_without_a_group_are_refused_beside_others(crafted):
    with pytest.raises(InputError, match=r"3 of 200 images of split train have no group.* row 197"):
        crafted({"train": table(FRAMES, VIDEOS[:197] + [None] * 3)}, group_column="patient")


def test_a_split_without_any_group_has_groups_of_one_image(crafted):
    paths = [f"{video:05}_{i:05}.ppm" for i, video in enumerate(VIDEOS)]
    tests = [f"{i:05}.ppm" for i in range(20)]
    splits = {"train": table(FRAMES, None, paths), "test": table(FRAMES[:20], None, tests)}
    data = crafted(splits, group_from=r"(\d+)_\d+")
    assert data.splits["test"].num_groups == 20
    assert data.splits["train"].num_groups + data.splits["validation"].num_groups == 40
    assert "no image of test has a group" in data.notes[0]


def leaking():
    """Splits in which groups 0 and 1 are in train and test, 2 in validation and test."""
    test = [0] * 4 + [1] * 2 + [2] * 4 + [50] * 10
    return {
        "train": table(FRAMES, VIDEOS[:10] + [77 + i // 5 for i in range(190)]),
        "validation": table(FRAMES[:20], [2] * 3 + [60] * 17),
        "test": table(FRAMES[:20], test),
    }


def test_leaks_are_counted_and_nothing_is_dropped_by_default(crafted):
    data = crafted(leaking(), group_column="patient")
    assert [len(split) for split in data.splits.values()] == [200, 20, 20]
    counts = [
        (pair.split, pair.also_in, pair.num_groups, pair.num_images)
        for pair in shared_groups(data.splits)
    ]
    assert counts == [("test", "train", 2, 6), ("test", "validation", 1, 4)]
    printed = StudyPlan(None, None, None, (), {}, data, {}).describe()
    assert "warning: 6 images of test are of 2 groups that are also in train" in printed


def test_leaks_are_refused_on_request(crafted):
    reason = r"6 of 20 images of test \(groups: 2\) are of groups that are also in train"
    with pytest.raises(InputError, match=reason):
        crafted(leaking(), group_column="patient", on_leak="error")


def test_test_loses_leaked_images_to_train_and_validation_to_test(crafted):
    data = crafted(leaking(), group_column="patient", on_leak="drop")
    assert {role: len(split) for role, split in data.splits.items()} == {
        "train": 200, "validation": 17, "test": 14,
    }  # fmt: skip
    assert not shared_groups(data.splits)
    notes = "\n".join(data.notes)
    assert "6 of 20 images of test (groups: 2) are left out" in notes
    assert "3 of 20 images of validation (groups: 1) are left out" in notes


def test_a_split_that_leaks_as_a_whole_is_refused(crafted):
    splits = {"train": table(FRAMES, VIDEOS), "test": table(FRAMES[:20], [1] * 20)}
    with pytest.raises(InputError, match="leaves no image of test"):
        crafted(splits, group_column="patient", on_leak="drop")


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"group_column": "a", "group_from": "b"}, "--group-from: not together with"),
        ({"group_from": "("}, "is no regular expression"),
        ({"group_from": ""}, "--group-from"),
    ],
)
def test_settings_of_groups_that_mean_nothing_are_refused(keys, reason):
    with pytest.raises(InputError, match=reason):
        Recipe(**keys)


def test_without_groups_data_and_recipes_are_those_of_before():
    stored = {"dataset": "digits", "epochs": 3}  # of a version without groups
    assert Recipe(**stored) == Recipe(dataset="digits", epochs=3, group_column=None)
    digest = load(Recipe(**stored)).labels_digest
    assert digest[:16] == "8a9b7a18f3136d1e"
    assert num_images(0.5, 5) == 3


def clustered(num_groups, seed, error=0.3, correlation=0.4):
    """Wrong predictions of groups of 5 to 40 images, correlated within groups (beta-binomial)."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(num_groups), rng.integers(5, 41, num_groups))
    strength = (1 - correlation) / correlation
    rates = rng.beta(error * strength, (1 - error) * strength, num_groups)
    return (rng.random(len(groups)) < rates[groups]).astype(float), groups


def test_cluster_variance_is_that_of_a_bootstrap_over_groups():
    wrong, groups = clustered(200, seed=0)
    totals, sizes = np.bincount(groups, wrong), np.bincount(groups)
    drawn = np.random.default_rng(1).integers(0, 200, (5000, 200))
    means = totals[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    assert cluster_variance(wrong, groups) == pytest.approx(means.var(), rel=0.06)
    assert cluster_variance(wrong, groups) > 5 * wrong.var() / len(wrong)


def test_effective_images_lie_between_groups_and_images():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(500), 8)
    independent = (rng.random(4000) < 0.3).astype(float)
    equal = np.repeat(rng.random(500) < 0.3, 8).astype(float)
    assert 3200 < effective_images(independent, groups) <= 4000
    assert effective_images(equal, groups) == pytest.approx(500, rel=0.01)
    assert effective_images(independent, np.arange(4000)) == pytest.approx(4000, rel=0.002)
    assert effective_images(np.zeros(4000), groups) == 500  # no error shows no variance
    assert effective_images(independent, np.zeros(4000, int)) == 1
    assert effective_images(np.tile([0.0, 1.0], 2000), groups) == 4000  # groups with equal means


@pytest.mark.parametrize(("num_groups", "least"), [(10, 0.9), (40, 0.91)])
def test_intervals_of_clustered_errors_contain_the_error(num_groups, least):
    covered = naive = 0
    for seed in range(400):
        wrong, groups = clustered(num_groups, seed)
        low, high = wilson_interval(wrong.mean(), effective_images(wrong, groups))
        covered += low <= 0.3 <= high
        low, high = wilson_interval(wrong.mean(), len(wrong))
        naive += low <= 0.3 <= high
    assert covered / 400 > least
    assert naive / 400 < 0.6


def test_paired_drops_of_groups_have_the_intervals_of_groups():
    wrong, groups = clustered(60, seed=3, error=0.4)
    mean, low, high = paired_drop(wrong)
    grouped_mean, grouped_low, grouped_high = paired_drop(wrong, groups)
    assert mean == grouped_mean
    assert grouped_high - grouped_low > 2 * (high - low)
    labels = groups % 3
    plain, wide = class_drops(wrong, labels, 3), class_drops(wrong, labels, 3, groups)
    assert (wide[2] - wide[1] > 2 * (plain[2] - plain[1])).all()
    alone = class_drops(wrong, labels, 3, np.arange(len(wrong)))
    np.testing.assert_allclose(alone[2] - alone[1], plain[2] - plain[1], rtol=0.02)


def scored(seed, num_images, grouped):
    """A run of half of the images that is wrong on 30 of 100 test images."""
    test = SplitScores.measured(100, 1.0, 0.3, 0.1, grouped)
    return RunScores(
        subset_size=0.5, seed=seed, num_images=num_images, best_epoch=1, status="complete",
        splits={"test": test},
    )  # fmt: skip


def results_of(*runs, **data):
    return StudyResults(
        schema_version=1, experiment_id="g", num_classes=10, environment=Environment(date="now"),
        data=DataSummary(splits={"train": 340, "test": 100}, classes=(), **data), runs=runs,
        subset_sizes={},
    )  # fmt: skip


def test_the_law_and_the_intervals_take_the_effective_number_of_test_images():
    grouped, plain = (scored(1, 50, of) for of in (Grouped(8, 20.0, 40.5), None))
    assert grouped.splits["test"].interval(1) == wilson_interval(0.3, 20.0)
    assert grouped.splits["test"].interval(5) == wilson_interval(0.1, 40.5)
    measured = points(runs_table(results_of(grouped)), "top_5_error")
    assert measured.num_test == 40.5
    summary = summarised(results_of(grouped)).subset_sizes["0.5"]
    assert summary.top_1_error_interval == pytest.approx(wilson_interval(0.3, 20.0))
    assert points(runs_table(results_of(plain)), "top_5_error").num_test == 100
    written = results_of(plain).model_dump_json(exclude_unset=True)
    assert "group" not in written
    assert "effective" not in written


def test_what_is_said_of_groups():
    shared = SharedGroups(split="test", also_in="train", num_groups=2, num_images=9)
    groups = {"train": 100, "test": 8}
    runs = [scored(1, 50, Grouped(8, 20.4, 40.0)), scored(2, 50, Grouped(8, 23.0, 40.0))]
    said, leak = describe_data(results_of(*runs, groups=groups, shared_groups=(shared,)))
    assert "100 test images come in 8 groups" in said
    assert "count them as 20 to 23 for the top-1 error, 40 for the top-5 error." in said
    assert "fewer than 10 test groups" in said
    assert "A group of train has 3.4 images on average" in said
    assert "9 of 100 test images are of groups that are also in train (2)" in leak
    assert describe_data(results_of(scored(1, 50, None))) == []
    (said,) = describe_data(results_of(scored(1, 50, Grouped(100, 100.0, 100.0)), groups=groups))
    assert said.startswith("Each test image is a group of its own: they are counted as ")


def test_the_seeds_of_a_size_are_one_point():
    drawn = [(0.5, 1, 50), (0.5, 2, 57), (0.5, 2, 57), (0.25, 1, 20)]  # two variants of seed 2
    assert images_of_sizes(drawn) == {0.5: 54, 0.25: 20}


def videos(folder, num_classes=6, num_videos=14):
    """Write class folders of videos of 2 to 5 frames, the frames of a video nearly equal."""
    rng = np.random.default_rng(0)
    for video in range(num_classes * num_videos):
        label = video % num_classes
        picture = np.asarray(made.coloured(label, num_classes, video)).astype(int)
        for frame in range(rng.integers(2, 6)):
            path = folder / f"class {label}" / f"{video:03}_{frame}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.integers(-3, 4, picture.shape)
            image = Image.fromarray((picture + noise).clip(0, 255).astype(np.uint8))
            path.write_bytes(made.encoded(image, "png"))
    return folder


GROUPED = ["--dataset", "videos", "--group-from", r"/(\d+)_\d+", *QUICK[2:], "--seeds", "1", "2"]
GROUPED += ["--validation-fraction", "0.25", "--epochs", "8", "--jobs", "1"]


@pytest.mark.slow
def test_a_study_of_groups(workplace, capsys):
    videos(workplace / "videos")
    words = [*GROUPED, "--subset-sizes", "1.0", "0.5", "0.3", "--experiment-id", "g"]
    assert train(*words, "--list") == 0
    listed = capsys.readouterr().out
    for text in ("whole groups:", "images asked for", "class share off by, points"):
        assert text in listed
    assert train(*words) == 0
    assert evaluate("--full", "--conformal", "--report") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "groups and are not independent: intervals and laws count them as" in printed
    results = read_results(workplace / "results/g/metrics.json")
    assert sum(results.data.groups.values()) == 84
    for run in results.runs:
        test = run.splits["test"]
        assert test.num_groups == results.data.groups["test"]
        assert test.effective_images(1) < test.num_images
        subset = RunDirectory(workplace / "checkpoints/g" / run.path).subset()
        assert len(subset) == run.drawn_images
    assert len({run.num_images for run in results.runs}) == 3  # one number for the seeds of a size
    assert len({run.drawn_images for run in results.runs}) > 3
    assert len(results.subset_sizes) > 1
    assert train(*words) == 0  # nothing is left to do
    assert "epoch" not in capsys.readouterr().out
    assert train(*words, "--group-from", r"/(\d+)") == 2
    assert "group_from: '/(" in capsys.readouterr().err
