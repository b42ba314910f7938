"""Awkward and hostile images: RGB pixels of the right size, or refused by name."""

import subprocess
import sys

import numpy as np
import pytest

from dataworth.data.images import BadImageError, decode, decode_square, has_fast_jpeg
from tests import made
from tests.conftest import ROOT

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


def test_every_odd_image_has_its_expectation():
    assert made.IMAGES.keys() == GOOD.keys() | BAD.keys()


@pytest.mark.fault(39)
@pytest.mark.parametrize("name", GOOD)
def test_an_odd_image_gives_the_same_rgb_pixels_on_every_path(name):
    data = made.image_file(name)
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
    levels = np.asarray(decode(made.image_file("grey16.png")))
    assert levels.min() < 10
    assert levels.max() > 245
    assert len(np.unique(levels)) > 10


@pytest.mark.fault(38, 39, 40)
@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_by_name(name, fast):
    with pytest.raises(BadImageError, match=BAD[name]):
        decode_square(made.image_file(name), 32, fast and has_fast_jpeg())


@pytest.mark.fault(40)
def test_bombs_and_slivers_take_little_memory(tmp_path):
    code = (
        "import pathlib, re, sys\n"
        "from dataworth.data.images import decode_square, BadImageError\n"
        "for path in sys.argv[1:]:\n"
        "    try: decode_square(pathlib.Path(path).read_bytes(), 256)\n"
        "    except BadImageError: print('refused')\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1])\n"
    )
    names = ("bomb_30000x30000_1bit.png", "bomb_12000x12000_1bit.png", "sliver_4000x1.png")
    paths = sorted(made.write_images(tmp_path, names).iterdir())
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    )
    *refused, kilobytes = done.stdout.split()
    assert len(refused) == 2
    assert int(kilobytes) < 500_000
