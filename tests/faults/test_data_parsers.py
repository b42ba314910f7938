"""Features, labels and images as nobody would publish them: usable, or one clean line."""

import io

import datasets as hf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dataworth.config import Recipe
from dataworth.data.images import BadImageError, decode_square
from dataworth.data.labels import encode_labels, find_columns, read_column
from dataworth.data.splits import Split, assign_splits
from dataworth.errors import InputError
from tests.faults.test_parsers import many, one_line

features = st.sampled_from(
    [
        hf.Value("int64"), hf.Value("string"), hf.Value("float32"), hf.Value("bool"),
        hf.Value("binary"), hf.Value("timestamp[s]"), hf.ClassLabel(names=["a", "b", "c"]),
        hf.Image(), hf.Sequence(hf.Value("int64")), {"nested": hf.Value("int64")},
    ]
)  # fmt: skip
names = st.sampled_from(["image", "label", "fine_label", "img", "x", ""])


@pytest.mark.fault(41, 49)
@many
@given(
    st.dictionaries(names, features, max_size=4),
    st.none() | names, st.none() | names,
)  # fmt: skip
def test_features_of_any_kind_name_two_columns_or_say_why_not(kinds, image, label):
    recipe = Recipe(dataset="crafted", image_column=image, label_column=label)
    try:
        found = find_columns(hf.Features(kinds), recipe)
    except InputError as error:
        one_line(error)
        return
    assert set(found) <= set(kinds)
    assert isinstance(kinds[found[0]], hf.Image)


cells = st.integers(-2, 4) | st.none() | st.sampled_from(["cat", "dog", "", 1.5, True])
columns = st.lists(cells, min_size=1, max_size=12) | st.lists(st.integers(0, 2), max_size=30)


class Table:
    """What :func:`read_column` asks of a table: its features and a column."""

    def __init__(self, cells):
        self.features, self.cells = {"label": None}, cells

    def with_format(self, _):
        return {"label": self.cells}


@pytest.mark.fault(41, 42)
@many
@given(
    st.dictionaries(
        st.sampled_from(["train", "validation", "dev", "test", "extra"]), columns, min_size=1
    ),
    st.none() | st.just(["a", "b", "c"]),
    st.floats(0.01, 0.99),
)
def test_labels_of_any_kind_become_three_splits_or_one_line(tables, classes, fraction):
    recipe = Recipe(dataset="crafted", validation_fraction=fraction)
    try:
        raw = {s: read_column(Table(cells), "label", "crafted", s) for s, cells in tables.items()}
        names, codes = encode_labels(raw, classes, "crafted")
        found = {s: Split(s, np.arange(len(c)), c) for s, c in codes.items() if len(c)}
        splits, _ = assign_splits(found, recipe, len(names))
    except InputError as error:
        one_line(error)
        return
    assert set(splits) == {"train", "validation", "test"}
    assert all(len(split) for split in splits.values())
    known = set(splits["train"].labels)
    assert all(set(split.labels) <= known for split in splits.values())
    pairs = [(split.source, row) for split in splits.values() for row in split.rows]
    assert len(pairs) == len(set(pairs))


def seeds():
    pixels = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)
    for kind in ("jpeg", "png", "gif", "bmp", "tiff", "webp"):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, kind)
        yield file.getvalue()


@pytest.mark.fault(38, 40)
@many
@given(
    st.sampled_from(list(seeds())),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(1, 2000),
)
def test_image_bytes_of_any_kind_are_pixels_or_one_reason(content, changes, length):
    data = bytearray(content[:length])
    for where, value in changes:
        data[where % len(data)] = value
    try:
        pixels = decode_square(bytes(data), 16)
    except BadImageError:
        return
    assert pixels.shape == (16, 16, 3)
