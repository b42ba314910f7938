"""Awkward and hostile images and data sets: pixels of the right size, or refused by name."""

import io
import shutil
import subprocess
import sys

import datasets as hf
import numpy as np
import pytest
from PIL import Image

from src.config import InputError, Machine, Recipe
from src.data.cache import MAX_BAD
from src.data.datasets import DATASETS, load
from src.data.images import BadImageError, decode, decode_square, has_fast_jpeg
from src.data.prepare import open_data
from tests.conftest import DIGITS, ROOT, shared, train

GOOD = {
    "ok.jpg": (160, 120),
    "scrambled_scan.jpg": None,  # no decoder can tell: it must not crash
    "trailing_junk.jpg": (160, 120),
    "one_pixel.png": (1, 1),
    "one_pixel.jpg": (1, 1),
    "sliver_4000x1.png": (4000, 1),
    "grey.jpg": None,
    "bilevel.png": None,
    "grey16.png": None,
    "palette_alpha.png": None,
    "rgba.png": None,
    "la.png": None,
    "cmyk.jpg": None,
    "animated.gif": None,
    "exif_orientation_6.jpg": (160, 120),
    "exif_orientation_0.jpg": (160, 120),
    "webp_named.jpg": None,
    "png_named.jpg": None,
}
BAD = {
    "truncated_half.jpg": "not a whole image",
    "truncated_tail.jpg": "not a whole image",
    "header_only.jpg": "not a whole image",
    "zero_byte.jpg": "not a whole image",
    "text.jpg": "not a whole image",
    "html.jpg": "not a whole image",
    "bomb_30000x30000_1bit.png": "exceed 40,000,000",
    "bomb_12000x12000_1bit.png": "12000 x 12000 pixels exceed 40,000,000",
    "float32.tiff": "no known scale",
}


def image(name):
    return (shared("broken") / "images" / name).read_bytes()


def test_every_broken_image_has_its_expectation():
    names = {path.name for path in (shared("broken") / "images").iterdir()}
    assert names == GOOD.keys() | BAD.keys()


@pytest.mark.fault(39)
@pytest.mark.parametrize("name", GOOD)
def test_an_odd_image_gives_the_same_rgb_pixels_on_every_path(name):
    data = image(name)
    picture = decode(data)
    assert picture.mode == "RGB"
    assert GOOD[name] in (None, picture.size)
    slow = decode_square(data, 32)
    assert (slow.shape, slow.dtype) == ((32, 32, 3), np.uint8)
    assert np.array_equal(slow, decode_square(data, 32))
    if has_fast_jpeg():
        assert np.abs(slow.astype(int) - decode_square(data, 32, fast=True)).max() <= 1


@pytest.mark.fault(39)
def test_16_bits_are_scaled_and_never_clipped():
    levels = np.asarray(decode(image("grey16.png")))
    assert levels.min() < 10
    assert levels.max() > 245
    assert len(np.unique(levels)) > 10


@pytest.mark.fault(38, 39, 40)
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_by_name(name, fast):
    with pytest.raises(BadImageError, match=BAD[name]):
        decode_square(image(name), 32, fast and has_fast_jpeg())


@pytest.mark.fault(40)
def test_bombs_and_slivers_take_little_memory():
    code = (
        "import pathlib, re, sys\n"
        "from src.data.images import decode_square, BadImageError\n"
        "for path in sys.argv[1:]:\n"
        "    try: decode_square(pathlib.Path(path).read_bytes(), 256)\n"
        "    except BadImageError: print('refused')\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    names = ("bomb_30000x30000_1bit.png", "bomb_12000x12000_1bit.png", "sliver_4000x1.png")
    paths = [shared("broken") / "images" / name for name in names]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *refused, kilobytes = done.stdout.split()
    assert len(refused) == 2
    assert int(kilobytes) < 500_000


@pytest.mark.fault(38, 41)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("corrupt-row", "split train, row 7: not a whole image"),
        ("garbage-row", "split train, row 3: not a whole image"),
        ("bomb-row", "split train, row 5: its pixels exceed 40,000,000"),
        ("null-image-row", "split train, row 4: the image is missing"),
        ("path-only-row", "split train, row 4: the row has no bytes"),
        ("bad-label-rows", "-1 in row 0, 2 in row 1, None in row 11"),
        ("truncated-parquet", "train-00000-of-00001.parquet is damaged"),
    ],
)
def test_a_bad_data_set_ends_the_command_before_training(workplace, capsys, name, message):
    words = ["--dataset", shared("broken") / name, "--model", "alexnet-small"]
    words += ["--image-size", "32", "--subset-sizes", "1.0"]
    assert train(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not list(workplace.glob("checkpoints/*"))
    if name.endswith("-row"):
        assert ("--on-bad-image skip" in captured.err) == (name != "bad-label-rows")
        assert train(*words, "--on-bad-image", "skip") == 2
        reason = message if "label" in name else "1 of 12 images are bad, more than 1%"
        assert reason in capsys.readouterr().err


def pictures(n, bad=()):
    """``n`` images of four classes, of which some rows are half a file."""

    def cell(i):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (i % 256, 90, 10)).save(file, "png")
        return {"bytes": file.getvalue()[: 50 if i in bad else None]}

    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=list("abcd"))})
    columns = {"image": [cell(i) for i in range(n)], "label": [i % 4 for i in range(n)]}
    return hf.Dataset.from_dict(columns, features=features)


@pytest.fixture
def partly_bad(workplace, monkeypatch):
    splits = {"train": pictures(400, {5, 17, 300}), "validation": pictures(40)}
    monkeypatch.setitem(DATASETS, "partly", lambda: {**splits, "test": pictures(40)})
    return {"dataset": "partly", "image_size": 8}


@pytest.mark.fault(38)
def test_bad_images_are_skipped_counted_and_listed(partly_bad):
    data = open_data(Recipe(**partly_bad, on_bad_image="skip"), Machine())
    assert len(data.dataset.splits["train"]) == 397
    assert not set(data.dataset.splits["train"].rows) & {5, 17, 300}
    note = data.dataset.notes[-1]
    assert note.startswith("3 bad images of train are skipped: row 5 (not a whole image")
    assert "row 17 (" in note
    with pytest.raises(InputError, match=r"split train, row 5: .*--on-bad-image skip leaves"):
        open_data(Recipe(**partly_bad), Machine())  # from the cache that was built by then


@pytest.mark.fault(38)
def test_a_study_on_data_with_bad_images_trains_on_the_others(partly_bad, capsys):
    words = ["--dataset", "partly", "--model", "alexnet-small", "--image-size", "32"]
    words += ["--epochs", "1", "--subset-sizes", "1.0", "--on-bad-image", "skip"]
    assert train(*words) == 0
    assert "note: 3 bad images of train are skipped" in capsys.readouterr().out
    assert train(*words[:-2], "--subset-sizes", "398", "--on-bad-image", "skip") == 2
    assert "398 images asked, but the training split has 397" in capsys.readouterr().err


@pytest.mark.fault(38)
def test_more_than_a_share_of_bad_images_is_refused(workplace, monkeypatch):
    bad = set(range(0, 400, 80))
    monkeypatch.setitem(DATASETS, "worse", lambda: {"train": pictures(400, bad)})
    assert len(bad) / 400 > MAX_BAD
    with pytest.raises(InputError, match="5 of 400 images are bad, more than 1%"):
        open_data(Recipe(dataset="worse", image_size=8, on_bad_image="skip"), Machine())


@pytest.mark.fault(44)
def test_parquet_that_is_damaged_within_is_named(workplace):
    pictures(400).to_parquet("data-train.parquet")
    content = bytearray((workplace / "data-train.parquet").read_bytes())
    content[len(content) // 3 : len(content) // 3 + 200] = bytes(200)
    folder = workplace / "set"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(content)
    with pytest.raises(InputError, match=r"train\.parquet is damaged"):
        open_data(Recipe(dataset=str(folder), image_size=8), Machine())


@pytest.mark.fault(45)
def test_another_size_is_another_cache(workplace):
    shapes = {
        open_data(Recipe(dataset="digits", image_size=size), Machine()).images["train"].shape
        for size in (8, 16)
    }
    assert {shape[1] for shape in shapes} == {9, 18}


@pytest.mark.fault(46)
def test_a_disk_without_room_for_the_study_is_refused_with_both_numbers(
    workplace, monkeypatch, capsys
):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 10**7))
    assert train(*DIGITS, "--subset-sizes", "0.5") == 2
    error = capsys.readouterr().err
    assert "decoded images 0.01 GB, checkpoints 0.02 GB, results 0.01 GB need 0.04 GB" in error
    assert "0.01 GB are free" in error
    assert list(workplace.iterdir()) == []


@pytest.mark.fault(47)
def test_images_in_train_and_test_are_warned_of(workplace, monkeypatch, capsys):
    splits = {"train": pictures(400), "validation": pictures(8), "test": pictures(12)}
    monkeypatch.setitem(DATASETS, "twice", lambda: splits)
    words = ["--dataset", "twice", "--model", "alexnet-small", "--image-size", "32"]
    assert train(*words, "--epochs", "1", "--subset-sizes", "0.5") == 0
    assert "warning: 12 images of train are also in test" in capsys.readouterr().out


@pytest.mark.fault(46)
def test_plan_says_what_a_study_takes_and_writes_nothing(workplace, capsys):
    assert train(*DIGITS, "--subset-sizes", "0.5", "--epochs", "2", "--plan") == 0
    shown = capsys.readouterr().out
    for part in ("steps in all", "disk: decoded images 0.01 GB", "checkpoints", "time: about"):
        assert part in shown
    assert list(workplace.iterdir()) == []
    assert load(Recipe(dataset="digits"))
