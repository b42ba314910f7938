"""Test inputs, written on the spot: odd and damaged images, data set folders, checkpoints."""

import functools
import io
import os
import pickle
import struct
import zlib
from pathlib import Path

import datasets as hf
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

ORIENTATION = 0x0112  # EXIF tag


def scene(width=160, height=120, seed=0):
    """A smooth RGB picture."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind, **options):
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(width, height, rows=b"", bits=8, colour_type=2):
    """A PNG file that claims a size, whatever its rows hold."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@functools.cache
def bomb(side=30_000):
    """A whole one-bit PNG of ``side`` squared pixels, a thousandth of their size as bytes."""
    return png(side, side, bytes((side // 8 + 1) * side), bits=1, colour_type=0)


def turned(value):
    """A JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = value
    size = (120, 160) if value == 6 else (160, 120)
    return encoded(scene(*size), "jpeg", exif=exif)


def scrambled():
    """A JPEG with whole headers and flipped bits in its scan, which every decoder lets pass."""
    content = bytearray(encoded(scene(), "jpeg", restart_marker_rows=1))
    start = content.index(b"\xff\xda") + 20
    for place in range(start, len(content) - 20, 40):
        if 0xFF not in content[place - 1 : place + 2]:
            content[place] ^= 0x15
    return bytes(content)


def transparent_palette():
    image = scene().quantize(64)
    image.info["transparency"] = bytes(range(0, 256, 4))
    return encoded(image, "png")


def deep_ramp():
    """16-bit grey from black to white."""
    ramp = np.linspace(0, 65535, 64 * 48).reshape(48, 64)
    return encoded(Image.fromarray(ramp.astype(np.uint16)), "png")


def animation():
    first, *others = (scene(80, 60, seed) for seed in range(5))
    return encoded(first, "gif", save_all=True, append_images=others, duration=100)


def with_alpha(mode):
    image = scene().convert(mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return encoded(image, "png")


IMAGES = {  # name -> function that makes the content
    "ok.jpg": lambda: encoded(scene(), "jpeg"),
    "scrambled_scan.jpg": scrambled,
    "trailing_junk.jpg": lambda: encoded(scene(), "jpeg") + b"junk" * 80,
    "one_pixel.png": lambda: encoded(scene(1, 1), "png"),
    "one_pixel.jpg": lambda: encoded(scene(1, 1), "jpeg"),
    "sliver_4000x1.png": lambda: encoded(scene(4000, 1).convert("L"), "png"),
    "grey.jpg": lambda: encoded(scene().convert("L"), "jpeg"),
    "bilevel.png": lambda: encoded(scene().convert("1"), "png"),
    "grey16.png": deep_ramp,
    "palette_alpha.png": transparent_palette,
    "rgba.png": lambda: with_alpha("RGB"),
    "la.png": lambda: with_alpha("L"),
    "cmyk.jpg": lambda: encoded(scene().convert("CMYK"), "jpeg"),
    "animated.gif": animation,
    "exif_orientation_6.jpg": lambda: turned(6),
    "exif_orientation_0.jpg": lambda: turned(0),
    "webp_named.jpg": lambda: encoded(scene(80, 60), "webp"),
    "png_named.jpg": lambda: encoded(scene(80, 60), "png"),
    "truncated_half.jpg": lambda: half(encoded(scene(335, 500), "jpeg")),
    "truncated_tail.jpg": lambda: encoded(scene(), "jpeg")[:-40],
    "header_only.jpg": lambda: encoded(scene(), "jpeg")[:200],
    "zero_byte.jpg": bytes,
    "text.jpg": lambda: b"This is not an image.\n" * 20,
    "html.jpg": lambda: b"<!doctype html><html><body>404 Not Found</body></html>\n",
    "bomb_30000x30000_1bit.png": bomb,
    "bomb_12000x12000_1bit.png": lambda: bomb(12_000),
    "float32.tiff": lambda: encoded(
        Image.fromarray(np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64)), "tiff"
    ),
}


def half(content):
    return content[: len(content) // 2]


@functools.cache
def image_file(name):
    """The content of one of ``IMAGES``."""
    return IMAGES[name]()


def write_images(folder, names=IMAGES):
    """Write some of ``IMAGES`` as files; return the folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name in names:
        (Path(folder) / name).write_bytes(image_file(name))
    return Path(folder)


def cell(content, path=None):
    return {"image": {"bytes": content, "path": path}}


BAD_ROWS = {  # data set -> function: row of its training split -> what replaces its cells
    "corrupt-row": lambda: {7: cell(half(encoded(scene(), "jpeg")))},
    "garbage-row": lambda: {3: cell(b"not an image at all")},
    "bomb-row": lambda: {5: cell(bomb())},
    "null-image-row": lambda: {4: {"image": None}},
    "path-only-row": lambda: {4: cell(None, "/nonexistent/outside-the-dataset.jpg")},
    "bad-label-rows": lambda: {0: {"label": -1}, 1: {"label": 2}, 11: {"label": None}},
    "truncated-parquet": dict,
}


def write_split(folder, split, rows, classes, compression="snappy"):
    """Write rows as the parquet file of a split, laid out as on the hub."""
    features = hf.Features({"image": hf.Image(), "label": hf.ClassLabel(names=list(classes))})
    path = Path(folder) / "data" / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=features.arrow_schema)
    pq.write_table(table, path, compression=compression)
    return path


def write_bad_data_set(folder, name):
    """Write a data set of two classes in which only the rows of ``BAD_ROWS`` are bad."""
    for split, count in (("train", 12), ("validation", 4), ("test", 4)):
        images = [encoded(scene(64, 48, count + i), "jpeg") for i in range(count)]
        rows = [{**cell(image, f"{i}.jpg"), "label": i % 2} for i, image in enumerate(images)]
        if split == "train":
            for row, cells in BAD_ROWS[name]().items():
                rows[row].update(cells)
        path = write_split(folder, split, rows, ["cat", "dog"])
        if (name, split) == ("truncated-parquet", "train"):
            path.write_bytes(path.read_bytes()[: 2 * path.stat().st_size // 3])
    return Path(folder)


def coloured(label, num_classes, seed, size=(32, 32)):
    """A noisy picture whose hue is that of its class."""
    rng = np.random.default_rng(seed)
    hue = np.full((8, 8), 255 * label // num_classes) + rng.integers(-6, 7, (8, 8))
    channels = (hue % 256, rng.integers(100, 256, (8, 8)), rng.integers(80, 256, (8, 8)))
    image = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8), "HSV")
    return image.convert("RGB").resize(size)


def write_coloured(folder, num_classes, **num_images):
    """Write a data set that is learned in an epoch or two: ``num_images`` of each split."""
    for number, (split, count) in enumerate(num_images.items()):
        labels = np.arange(count) % num_classes
        images = [coloured(label, num_classes, [number, i]) for i, label in enumerate(labels)]
        rows = [
            {**cell(encoded(image, "jpeg", quality=90)), "label": int(label)}
            for image, label in zip(images, labels, strict=True)
        ]
        write_split(folder, split, rows, [f"n{10_000_000 + k}" for k in range(num_classes)])
    return Path(folder)


def write_class_folders(folder, num_classes, per_class):
    """Write JPEG files of different sizes, some of them grey, in a folder per class."""
    for i in range(num_classes * per_class):
        path = Path(folder) / f"class {i % num_classes}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = coloured(i % num_classes, num_classes, i, (30 + 7 * (i % 9), 30 + 5 * (i % 11)))
        path.write_bytes(encoded(image.convert("L") if i % 10 == 0 else image, "jpeg"))
    return Path(folder)


class Opens:
    """Makes a folder named PWNED when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("PWNED",)


def checkpoint(name):
    """The content of a checkpoint: two that would run code, one whole, one empty."""
    import torch

    if name == "evil_pickle":
        return pickle.dumps(Opens())
    if name == "zero_byte":
        return b""
    file = io.BytesIO()
    torch.save(Opens() if name == "evil_torch_zip" else {"weight": torch.ones(3)}, file)
    return file.getvalue()
