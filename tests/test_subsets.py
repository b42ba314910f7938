"""Subsets: nested, stratified, exact in size, seeded."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from dataworth.data.subsets import composition, num_images, stratified_order, subset_indices
from dataworth.errors import InputError

labels = st.lists(st.integers(0, 5), min_size=1, max_size=200).map(np.array)
class_sizes = st.lists(st.integers(1, 40), min_size=2, max_size=8)
seeds = st.integers(0, 2**40)


@given(labels, seeds)
def test_order_is_a_permutation(labels, seed):
    assert sorted(stratified_order(labels, seed)) == list(range(len(labels)))


@pytest.mark.fault(35)
@given(st.integers(1, 20), st.integers(1, 30), seeds, st.data())
def test_balanced_classes_stay_within_one_image_in_every_prefix(classes, per_class, seed, data):
    labels = np.tile(np.arange(classes), per_class)
    size = data.draw(st.integers(1, len(labels)))
    counts = np.bincount(labels[stratified_order(labels, seed)[:size]], minlength=classes)
    assert counts.max() - counts.min() <= 1


@pytest.mark.fault(35)
@given(class_sizes, seeds, st.floats(0.05, 1), st.floats(0.05, 1))
def test_smaller_subsets_are_nested_in_larger_ones(sizes, seed, a, b):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    subsets = []
    for share in sorted((a, b)):
        try:
            subsets.append(set(subset_indices(labels, share, seed)))
        except InputError:
            subsets.append(set())
    assert subsets[0] <= subsets[1]


@given(class_sizes, seeds, st.data())
def test_size_is_exact_whether_share_or_count(sizes, seed, data):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    count = data.draw(st.integers(max(2, len(labels) - 3), len(labels)))
    try:
        assert len(subset_indices(labels, count, seed)) == count
        assert len(subset_indices(labels, count / len(labels), seed)) == count
    except InputError:
        reject()  # a class would be empty


@pytest.mark.fault(33)
@given(class_sizes, seeds)
def test_the_smallest_valid_size_that_is_named_is_valid(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    with pytest.raises(InputError, match="smallest valid size") as caught:
        subset_indices(labels, 1, seed)
    smallest = int(str(caught.value).split(" is ")[-1].split()[0])
    chosen = subset_indices(labels, smallest, seed)
    assert set(labels[chosen]) == set(labels)
    with pytest.raises(InputError):
        subset_indices(labels, smallest - 1, seed)


@given(class_sizes, seeds)
def test_order_ignores_how_classes_are_numbered_and_arranged(sizes, seed):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    counts = np.cumsum(np.eye(len(sizes))[labels[stratified_order(labels, seed)]], axis=0)
    quota = np.arange(1, len(labels) + 1)[:, None] * np.array(sizes) / len(labels)
    assert np.abs(counts - quota).max() < len(sizes) / 2 + 1


@pytest.mark.parametrize("seed", range(3))
def test_long_tailed_classes_keep_their_share_in_every_prefix(seed):
    sizes = np.maximum(1, (300 * 0.95 ** np.arange(100)).astype(int))
    labels = np.repeat(np.arange(100), sizes)
    counts = np.cumsum(np.eye(100)[labels[stratified_order(labels, seed)]], axis=0)
    quota = np.arange(1, len(labels) + 1)[:, None] * sizes / len(labels)
    assert np.abs(counts - quota).max() < 2.5


def test_mini_imagenet_sizes():
    labels = np.repeat(np.arange(100), 500)
    rows = composition(labels, (1.0, 0.5, 0.25, 0.125, 0.0625), seed=42)
    assert [row["images"] for row in rows] == [3125, 6250, 12500, 25000, 50000]
    assert (rows[0]["per class, min"], rows[0]["per class, max"]) == (31, 32)


def test_seeds_are_independent():
    labels = np.repeat(np.arange(10), 500)
    a, b = (set(subset_indices(labels, 0.2, seed)) for seed in (0, 1))
    assert 0.15 < len(a & b) / len(a) < 0.25  # chance overlap of two fifths of the images: 0.2


def test_order_is_the_same_on_every_machine():
    order = stratified_order(np.repeat(np.arange(100), 50), seed=42).astype("<i8")
    assert hashlib.sha256(order.tobytes()).hexdigest()[:16] == "60bbc6524bfeaa40"


@pytest.mark.parametrize(("share", "n", "count"), [(0.5, 5, 3), (0.0625, 50_000, 3125), (7, 9, 7)])
def test_halves_round_up(share, n, count):
    assert num_images(share, n) == count


def test_more_images_than_there_are_is_refused():
    with pytest.raises(InputError, match="5000 images requested, but the training split has 100"):
        subset_indices(np.arange(100), 5000, 0)


def test_two_sizes_that_mean_the_same_are_refused():
    with pytest.raises(InputError, match="both 50 images"):
        composition(np.zeros(100, int), (0.5, 50), 0)
