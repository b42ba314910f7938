"""Folders of images with odd names and layouts: each file is used, or named with the reason."""

import io
import os
import sys
from types import SimpleNamespace

import datasets as hf
import pytest
from PIL import Image, ImageFile

from dataworth.data import hub
from dataworth.data.images import BadImageError, decode, decode_square
from dataworth.errors import InputError
from dataworth.prediction.pictures import read_picture
from tests.faults.test_data_sets import class_folders, in_folders, loaded


def heic(width=8, height=8, level=0):
    """A file that starts as HEIC files do and that the plugin below decodes."""
    return (
        b"\0\0\0\x1cftypheic"
        + width.to_bytes(4, "big")
        + height.to_bytes(4, "big")
        + bytes([level])
    )


@pytest.fixture
def pillow_heif(monkeypatch):
    """Stands in for the package of this name: registers a decoder of the files of ``heic``."""

    class Plugin(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self):
            content = self.fp.read()
            self._size = tuple(int.from_bytes(content[i : i + 4], "big") for i in (12, 16))
            self._mode = "L"
            self.tile = [ImageFile._Tile("raw", (0, 0, *self._size), 0, ("L", 0, 1))]
            self.fp = io.BytesIO(content[20:21] * min(64, self.size[0] * self.size[1]))

    def register():
        Image.register_open("HEIF", Plugin, lambda prefix: prefix[4:12] == b"ftypheic")

    module = SimpleNamespace(register_heif_opener=register)
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    yield
    Image.OPEN.pop("HEIF", None)


@pytest.mark.fault(38)
def test_heic_images_are_read_with_the_extra_that_is_named_without_it(
    workplace, monkeypatch, pillow_heif
):
    root = class_folders(workplace / "images", *in_folders("cat", "dog"))
    (root / "cat" / "x.HEIC").write_bytes(heic(level=90))
    data = loaded(root)
    assert "not used" not in "".join(data.notes)
    assert sum(len(split) for split in data.splits.values()) == 17
    assert decode_square(data.encoded("train", 8), 8).tolist() == [[[90] * 3] * 8] * 8
    with pytest.raises(BadImageError, match="8000 x 8000 pixels exceed 40,000,000"):
        decode(heic(8000, 8000))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert "1 file is not used: cat/x.HEIC (HEIC: pip install 'dataworth[heif]' reads it)" in (
        loaded(root).notes
    )
    with pytest.raises(BadImageError, match=r"HEIC: pip install 'dataworth\[heif\]' reads it"):
        decode(heic())


@pytest.mark.fault(38)
def test_a_huge_picture_is_refused_before_it_is_read(workplace):
    for name in ("x.heic", "x.png"):
        with (workplace / name).open("wb") as file:
            file.truncate(10**12)
        assert "bytes are more than" in read_picture(workplace / name, 8).reason


TWO = ["cat", "dog"]


def split_folders(*splits, classes=TWO, count=2):
    return in_folders(*(f"{split}/{name}" for split in splits for name in classes), count=count)


def write(**files):
    """A function of the root that writes files of some content, with ``__`` for a slash."""

    def build(root):
        for path, content in files.items():
            (root / path.replace("__", "/").replace("_dot_", ".")).write_bytes(content)

    return build


def links(root):
    (root / "cat" / "link.png").symlink_to(root / "dog" / "0.png")
    (root / "cat" / "out.png").symlink_to("/etc/passwd")
    (root / "fish").symlink_to(root / "dog", target_is_directory=True)
    (root / "cat" / "up").symlink_to(root, target_is_directory=True)
    (root / "cat" / "itself.png").symlink_to("itself.png")


def foreign_bytes(root):
    try:
        (root / os.fsdecode(b"caf\xe9")).mkdir()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    for name in (b"caf\xe9/1.png", b"cat/\xff\xfe.png", b"cat/\xff.txt"):
        (root / os.fsdecode(name)).write_bytes((root / "cat" / "0.png").read_bytes())


def twins(root):
    for name in ("copy.png", "0 (1).png", "0.PNG"):
        (root / "cat" / name).write_bytes((root / "cat" / "0.png").read_bytes())


ODD = {  # name -> images, and functions that add what is no image
    "plain": [*in_folders(*TWO)],
    "accents composed": in_folders("café", "ñandú"),
    "accents decomposed": in_folders("cafe\u0301", "n\u0303andu\u0301"),
    "accents both ways": in_folders("café", "cafe\u0301", "dog"),
    "spaces": in_folders(" cat", "dog ", "a  bird", "\u00a0fish"),
    "quotes": in_folders("'cat'", '"dog"', "`bird`", "$HOME"),
    "line breaks": in_folders("cat\n", "\r\ndog", "a\tbird", "a\vfish"),
    "control characters": in_folders("cat\x1b[2J", "dog\x07", "bird\x7f", "\u202efish"),
    "leading dots": [*in_folders(*TWO, ".bird", "..fish"), "cat/.x.png", ".top/cat/1.png"],
    "leading dashes": [*in_folders("-cat", "--dog"), "-cat/-1.png"],
    "colons": in_folders("cat::dog", "hf://cat", "c:\\dog", "zip:x"),
    "patterns": in_folders("*", "**", "[cat]", "{dog,cat}", "c?t"),
    "background": in_folders("__background__", "__MACOSX", "_", "dog"),
    "percent": in_folders("%20", "cat%2Fdog", "%s%n", "100%"),
    "emoji": in_folders("🐱", "🐶", "👨‍👩‍👧"),
    "long": [*in_folders("c" * 255, "d" * 255), f"{'c' * 255}/{'x' * 250}.png"],
    "numbers": in_folders("0", "1", "10", "-1", "1e3", "NaN", "null", "true"),
    "right to left": in_folders("قطة", "כלב"),
    "case": in_folders("cat", "Cat", "CAT"),
    "split words below the top": in_folders("cat/train", "dog/test"),
    "split words in classes": in_folders("train station", "test tube", "evaluation", "dog"),
    "split words in files": ["cat/train.png", "dog/test.png", "cat/val.png", "dog/1.png"],
    "foreign bytes": [*in_folders(*TWO), foreign_bytes],
    "links": [*in_folders(*TWO), links],
    "nested classes": in_folders("animal/cat", "animal/dog", "thing/car"),
    "nested at two depths": in_folders("animal/cat", "dog"),
    "one folder of all": in_folders("photos/cat", "photos/dog"),
    "suffixes": [f"{k}/{i}.{s}" for k in TWO for i, s in enumerate(["PNG", "Jpg", "jpeg", "BMP"])],
    "other formats": [
        *in_folders(*TWO),
        write(**{f"cat__1_dot_{s}": b"x" for s in ("heic", "avif", "webp", "tiff", "gif", "svg")}),
    ],
    "no suffix": [*in_folders(*TWO), write(cat__1=b"x", cat__png=b"x", dog___dot_png=b"x")],
    "two suffixes": ["cat/1.png.txt", "cat/2.txt.png", "dog/3.png.", "dog/4.png~", "dog/5.png"],
    "empty files": [*in_folders(*TWO), write(cat__x_dot_png=b"", dog__y_dot_jpg=b"")],
    "papers": [
        *in_folders(*TWO),
        write(README_dot_md=b"# x\n", LICENSE=b"", cat__README_dot_md=b"x", dog__notes_dot_txt=b""),
    ],
    "files of systems": [
        *in_folders(*TWO),
        write(_dot_DS_Store=b"", cat___dot_DS_Store=b"", dog__Thumbs_dot_db=b""),
    ],
    "tables beside": [*in_folders(*TWO), write(labels_dot_csv=b"a,b\n", cat__x_dot_json=b"{}")],
    "duplicates": [*in_folders(*TWO), twins],
    "images at the top": [*split_folders("train"), "1.png", "test/2.png"],
    "only train": split_folders("train", count=8),
    "train and val": split_folders("train", "val", count=8),
    "train and test": split_folders("train", "test", count=8),
    "all three": split_folders("train", "validation", "test", count=8),
    "validation and val": split_folders("train", "validation", "val", count=8),
    "upper case": split_folders("Train", "VAL", "Test", count=8),
    "splits and others": [*split_folders("train", "test"), *in_folders("extra/cat", "old")],
    "splits within a folder": [f"set/{path}" for path in split_folders("train", "test", count=8)],
    "a class missing in test": [*split_folders("train", count=8), *in_folders("test/cat")],
    "a class only in test": [*split_folders("train", count=8), *in_folders("test/cat", "test/cow")],
    "one image of each class": split_folders("train", "test", count=1),
    "one class": in_folders("cat"),
    "empty folders": [*in_folders(*TWO), lambda root: (root / "bird").mkdir()],
    "a split without images": [*split_folders("train"), lambda root: (root / "test").mkdir()],
    "nothing": [lambda root: None],
}  # fmt: skip


def is_minor(parts):
    """What nobody takes for an image of the set: papers and hidden folders at the top."""
    return parts[0].startswith(".") or (len(parts) == 1 and not parts[0].endswith(".png"))


@pytest.mark.fault(38, 42)
@pytest.mark.parametrize("name", ODD)
def test_each_file_of_a_folder_is_used_or_named(workplace, monkeypatch, name):
    (root := workplace / "images").mkdir()
    class_folders(root, *(part for part in ODD[name] if isinstance(part, str)))
    for build in ODD[name]:
        if callable(build):
            build(root)
    read, readings = hub.read_class_folders, []
    monkeypatch.setattr(
        hub, "read_class_folders", lambda listing: readings.append(read(listing)) or readings[-1]
    )
    try:
        messages = loaded(root).notes
    except InputError as error:
        messages = (str(error),)
    assert all(text.isprintable() and len(text) < 5000 for text in messages)
    for tables, missed, _ in readings:
        used = [row["path"] for table in tables.values() for row in cells(table)]
        named = ["/".join((str(root), *parts)) for parts in missed]
        files = {
            str(path)
            for path in root.rglob("*")
            if path.is_symlink() or (path.is_file() and not is_minor(path.relative_to(root).parts))
        }
        assert len({*used, *named}) == len(used) + len(named)
        assert {*used, *named} == files


def cells(table):
    return table.cast_column("image", hf.Image(decode=False))["image"]
