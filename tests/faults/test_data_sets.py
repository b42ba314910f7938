"""Data sets with bad rows, damaged files or too little disk: said before training."""

import io
import json
import os
import re
import shutil

import datasets as hf
import pytest
from PIL import Image

from dataworth.config import Machine, Recipe
from dataworth.data import cache, contents
from dataworth.data.cache import MAX_BAD
from dataworth.data.datasets import DATASETS, ImageDataset, load
from dataworth.data.hub import load_folder
from dataworth.data.images import BadImageError
from dataworth.data.prepare import load_dataset, open_data
from dataworth.errors import InputError
from dataworth.evaluation.results import read_results
from tests import made
from tests.conftest import DIGITS, evaluate, train


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
    words = [
        "--dataset",
        made.write_bad_data_set(workplace / name, name),
        "--model",
        "alexnet-small",
    ]
    words += ["--image-size", "32", "--subset-sizes", "1.0"]
    assert train(*words) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not list(workplace.glob("checkpoints/*"))
    if name.endswith("-row"):
        assert ("--on-bad-image skip" in captured.err) == (name != "bad-label-rows")
        assert train(*words, "--on-bad-image", "skip") == 2
        reason = message if "label" in name else "1 of 12 images are bad, more than 1 %"
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
    assert "398 images requested, but the training split has 397" in capsys.readouterr().err


@pytest.mark.fault(38)
def test_more_than_a_share_of_bad_images_is_refused(workplace, monkeypatch):
    bad = set(range(0, 400, 80))
    monkeypatch.setitem(DATASETS, "worse", lambda: {"train": pictures(400, bad)})
    assert len(bad) / 400 > MAX_BAD
    with pytest.raises(InputError, match="5 of 400 images are bad, more than 1 %"):
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
    shown = capsys.readouterr().out
    assert "warning: 12 images of test are also in train" in shown
    assert "warning: 8 images of test are also in validation" in shown


@pytest.mark.fault(46)
def test_plan_says_what_a_study_takes_and_writes_nothing(workplace, capsys):
    assert train(*DIGITS, "--subset-sizes", "0.5", "--epochs", "2", "--plan") == 0
    shown = capsys.readouterr().out
    for part in ("steps in all", "disk: decoded images 0.01 GB", "checkpoints", "time: about"):
        assert part in shown
    assert list(workplace.iterdir()) == []
    assert load(Recipe(dataset="digits"))


def class_folders(root, *names):
    """Write an image for each path, whose grey level is the position of its name."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), i).save(path, "png")
    return root


def in_folders(*folders, count=8):
    return [f"{folder}/{i}.png" for folder in folders for i in range(count)]


def loaded(root):
    return load(Recipe(dataset=str(root)))


@pytest.mark.fault(42)
def test_only_the_uppermost_folders_name_splits(workplace):
    classes = ("test tube", "locomotive", "valclass", "evaluation", "train station", "val")
    names = [f"{split}/{name}" for split in ("train", "val", "test") for name in classes]
    data = loaded(class_folders(workplace / "images", *in_folders(*names)))
    assert {role: len(split) for role, split in data.splits.items()} == dict.fromkeys(
        ("train", "validation", "test"), 48
    )
    assert data.classes == tuple(sorted(classes))
    for role, folder in (("train", "train"), ("validation", "val"), ("test", "test")):
        cells = data.tables[data.splits[role].source]["image"]
        assert all(f"/images/{folder}/" in cell["path"] for cell in cells)


@pytest.mark.fault(32, 38)
def test_a_bad_image_less_may_leave_a_batch_of_one_which_is_refused(workplace, capsys):
    names = in_folders("train/cat", "train/dog", count=51)
    for split in ("val", "test"):
        names += in_folders(f"{split}/cat", f"{split}/dog", count=2)
    root = class_folders(workplace / "images", *names)
    (root / "train/cat/0.png").write_text("no image")
    words = ["--dataset", root, "--model", "resnet18", "--image-size", "32", "--batch-size", "2"]
    assert train(*words, "--subset-sizes", "1.0", "--on-bad-image", "skip") == 2
    assert "1.0/seed-42 has batches of one image" in capsys.readouterr().err
    assert not list(workplace.glob("checkpoints/*/1.0"))


def write_grey(root, levels, kind):
    """Write a data set whose files keep names, sizes and times whatever the grey levels are."""
    images = [made.encoded(Image.new("L", (8, 8), level), "bmp") for level in levels]
    if kind == "folders":
        for i, image in enumerate(images):
            path = root / ("cat" if i % 2 else "dog") / f"{i}.bmp"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)
    else:
        rows = [{**made.cell(image), "label": i % 2} for i, image in enumerate(images)]
        made.write_split(root, "train", rows, ["cat", "dog"], compression="none")
    for path in root.rglob("*"):
        os.utime(path, (10**9, 10**9))
    return [path.stat().st_size for path in sorted(root.rglob("*.*"))]


def opened(root):
    """The data as another process opens them."""
    load_dataset.cache_clear()
    return open_data(Recipe(dataset=str(root), image_size=8), Machine())


@pytest.mark.fault(44, 45)
@pytest.mark.parametrize("way", ["in place", "moved here", "elsewhere"])
@pytest.mark.parametrize("kind", ["folders", "parquet"])
def test_other_pixels_under_the_same_names_sizes_and_times_are_seen(workplace, kind, way):
    first, second = workplace / "set", workplace / "other" / "set"
    sizes = write_grey(first, range(24), kind)
    before = opened(first)
    if way == "in place":
        assert write_grey(first, range(100, 124), kind) == sizes
    else:
        assert write_grey(second, range(100, 124), kind) == sizes
    if way == "moved here":
        shutil.rmtree(first)
        second.rename(first)
    after = opened(second if way == "elsewhere" else first)
    assert int(before.images["train"].max()) == 23
    assert int(after.images["train"].min()) == 100
    assert before.digest != after.digest


@pytest.mark.fault(45)
@pytest.mark.parametrize("kind", ["folders", "parquet"])
def test_a_set_of_the_same_content_has_one_cache(workplace, monkeypatch, kind):
    write_grey(workplace / "a" / "set", range(24), kind)
    shutil.copytree(workplace / "a", workplace / "b")
    before = opened(workplace / "a" / "set")
    monkeypatch.setattr(cache, "_build", lambda *_: pytest.fail("built again"))
    assert opened(workplace / "b" / "set").digest == before.digest


@pytest.mark.fault(45)
def test_files_are_read_once_per_machine_and_path(workplace, monkeypatch):
    """Elsewhere, or after any change of a file, what was read before says nothing."""
    monkeypatch.setattr(contents, "SETTLED_SECONDS", 0.0)
    root, num_read, original = workplace / "set", [], contents._file_digest
    write_grey(root, range(24), "folders")
    monkeypatch.setattr(contents, "_file_digest", lambda *a: num_read.append(a) or original(*a))

    def reads():
        num_read.clear()
        opened(root)
        return len(num_read)

    assert [reads(), reads()] == [24, 0]
    shutil.copytree(workplace / "cache", workplace / "before")
    os.utime(root / "cat" / "1.bmp", (10**9, 10**9))  # the time is the same, but for the inode's
    assert [reads(), reads()] == [24, 0]
    shutil.copytree(root, workplace / "copy")
    shutil.rmtree(root)
    (workplace / "copy").rename(root)
    assert [reads(), reads()] == [24, 0]
    monkeypatch.setattr(contents.socket, "gethostname", lambda: "elsewhere")
    assert [reads(), reads()] == [24, 0]
    for damaged in ("", "[]", "{" * 10**5, json.dumps({f"elsewhere:{root}": "x"})):
        (workplace / "cache" / contents.INDEX).write_text(damaged)
        assert [reads(), reads()] == [24, 0]


@pytest.mark.fault(45)
def test_files_that_change_while_they_are_read_give_no_cache(workplace, monkeypatch):
    root, original = workplace / "set", ImageDataset.encoded
    write_grey(root, range(24), "folders")

    def overwritten(dataset, source, row):
        (root / "dog" / "22.bmp").write_bytes((root / "cat" / "1.bmp").read_bytes())
        return original(dataset, source, row)

    monkeypatch.setattr(ImageDataset, "encoded", overwritten)
    with pytest.raises(InputError, match="its files changed while they were read; start"):
        opened(root)
    assert not list(workplace.glob("cache/*/train"))


@pytest.mark.fault(42)
def test_class_folders_with_split_words_are_classes(workplace):
    classes = ("test tube", "train station", "beaker")
    data = loaded(class_folders(workplace / "images", *in_folders(*classes)))
    assert sum(len(split) for split in data.splits.values()) == 24
    assert {split.source for split in data.splits.values()} == {"train"}


@pytest.mark.parametrize(
    "folders",
    [
        ("cat", "a cat", "a-dog", "cat.x"),
        ("train/cat", "train/dog", "test/cat", "test/dog"),
        ("training/b/cat", "training/a/dog", "valid/a/cat", "valid/b/dog", "evaluation/a/cat"),
        ("set/training_set/cat", "set/training_set/dog", "set/test_set/dog", "set/test_set/cat"),
        ("train/cat", "train-2/cat", "training/dog", "2 train/dog", "test/cat", "other/dog"),
    ],
)
def test_class_folders_are_read_as_by_the_package_datasets(workplace, folders):
    root = class_folders(workplace / "images", *in_folders(*folders, count=12))
    ours, theirs = load_folder(root)[0], hf.load_dataset(str(root))
    assert list(ours) == list(theirs)
    for split, table in theirs.items():
        tables = [t.cast_column("image", hf.Image(decode=False)) for t in (ours[split], table)]
        assert tables[0].features == tables[1].features
        assert tables[0].to_list() == tables[1].to_list()
        assert tables[0].cache_files  # on disk: small when sent to a process


@pytest.mark.fault(42)
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (in_folders("a/train/cat", "a/test/cat", "b/train/dog"), "must be the uppermost"),
        (in_folders("training_set/cat", "test_set/dog", "more/dog"), "must be the uppermost"),
        (in_folders("train", "bus", "car"), "train/0.png lies directly in the folder of a split"),
        (in_folders("cat", "dog/brown"), "cat/0.png and dog/brown/0.png lie at different depths"),
        (["cat/train_1.png", "dog/test_1.png"], "the names of the files name splits"),
        (in_folders("cat"), "all images lie in one class folder, cat"),
        (["1.png", "2.png"], "1.png lies in no class folder; images must lie in class folders, as"),
        (["1.txt"], "no images were found; images must lie in class folders, as in images/cat"),
        (in_folders("train_val/cat", "test_x/dog"), "could be several splits"),
    ],
)
def test_folders_without_clear_classes_are_refused_with_an_example(workplace, names, message):
    with pytest.raises(InputError, match=re.escape(message)):
        loaded(class_folders(workplace / "images", *names))


@pytest.mark.fault(38)
def test_images_that_are_not_used_are_named_with_the_reason(workplace):
    names = in_folders("__background__", "a::b", "dog\nbrown", "cat", count=4)
    root = class_folders(workplace / "images", *names, "cat/.hidden.png")
    (root / "cat" / "1.heic").write_bytes(b"x")
    (root / "linked").symlink_to(root / "cat", target_is_directory=True)
    (root / "cat" / "lost.png").symlink_to("nowhere")
    (root / "README.md").write_text("text")
    data = loaded(root)
    assert data.classes == ("__background__", "a::b", "cat", "dog\nbrown")
    assert sum(len(split) for split in data.splits.values()) == 16
    assert data.notes[0] == (
        "4 files are not used: cat/.hidden.png (hidden: its name starts with a dot), "
        "cat/1.heic (HEIC: pip install 'dataworth[heif]' reads it), cat/lost.png (a broken link), "
        "linked (a link to a folder)"
    )


@pytest.mark.fault(38)
def test_names_that_are_not_utf8_are_named(workplace):
    root = class_folders(workplace / "images", *in_folders("cat", "dog"))
    try:
        (root / "cat" / os.fsdecode(b"\xff.png")).touch()
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    assert "1 file is not used: cat/\\udcff.png (its name is not UTF-8)" in loaded(root).notes


@pytest.mark.fault(38)
def test_a_note_on_unused_files_is_bounded(workplace):
    root = class_folders(workplace / "images", *in_folders("cat", "dog"))
    for i in range(1000):
        (root / "cat" / f"{i}.heic").touch()
    note = loaded(root).notes[0]
    assert note.startswith(
        "1,000 files are not used: cat/0.heic (HEIC: pip install 'dataworth[heif]' reads it), "
    )
    assert note.endswith("and 990 more")
    assert len(note) < 700


@pytest.mark.fault(38)
def test_files_that_block_their_reader_are_not_opened(workplace):
    root = class_folders(workplace / "images", *in_folders("cat", "dog"))
    os.mkfifo(root / "cat" / "x.png")
    (root / "dog" / "zero.png").symlink_to("/dev/zero")
    note = loaded(root).notes[0]
    assert "cat/x.png (no regular file), dog/zero.png (no regular file)" in note
    tables = made.write_bad_data_set(workplace / "tables", "corrupt-row")
    os.mkfifo(tables / "data" / "extra-00000-of-00001.parquet")
    with pytest.raises(InputError, match=r"extra-00000-of-00001\.parquet is no regular file"):
        loaded(tables)


@pytest.mark.fault(38)
def test_a_huge_image_file_is_refused_before_it_is_read(workplace):
    root = class_folders(workplace / "images", *in_folders("cat", "dog"))
    data = loaded(root)
    os.truncate(root / "cat" / "0.png", 10**12)  # sparse
    with pytest.raises(BadImageError, match="its file has 1,000,000,000,000 bytes, more than"):
        data.encoded("train", 0)
    (root / "cat" / "1.png").unlink()
    os.mkfifo(root / "cat" / "1.png")
    with pytest.raises(BadImageError, match="no regular file"):
        data.encoded("train", 1)


@pytest.mark.fault(38)
@pytest.mark.parametrize("file", ["README.md", ".huggingface.yaml"])
@pytest.mark.parametrize("key", ["data_files", "data_dir"])
@pytest.mark.parametrize("where", ["../other", "/absolute", "https://example.org/x", "a::b"])
def test_a_readme_that_names_files_outside_the_folder_is_refused(workplace, file, key, where):
    made.write_bad_data_set(workplace / "other", "corrupt-row")
    (root := workplace / "images").mkdir()
    where = where.replace("/absolute", str(workplace / "other"))
    value = f"{where}/data/*" if key == "data_files" else where
    text = f"configs:\n- config_name: default\n  {key}: '{value}'\n"
    (root / file).write_text(f"---\n{text}---\n" if file == "README.md" else text)
    with pytest.raises(InputError, match=f"{re.escape(file)} names files outside the folder"):
        loaded(root)


def test_a_readme_that_names_files_of_its_folder_is_obeyed(workplace):
    root = class_folders(workplace / "images", *in_folders("a/cat", "a/dog", "b/cat", "b/dog"))
    files = "[{split: train, path: 'a/**'}, {split: test, path: 'b/**'}]"
    text = f"---\nconfigs:\n- config_name: default\n  data_files: {files}\n---\n"
    (root / "README.md").write_text(text)
    data = loaded(root)
    assert {split.source for split in data.splits.values()} == {"train", "test"}
    assert len(data.splits["test"]) == 16


@pytest.mark.fault(38)
def test_outputs_in_the_folder_of_the_data_are_no_data(workplace, capsys):
    made.write_class_folders(workplace, 3, 20)
    words = ["--dataset", ".", "--model", "alexnet-small", "--image-size", "32", "--epochs", "1"]
    words += ["--batch-size", "8", "--subset-sizes", "1.0", "0.5", "--experiment-id", "s"]
    assert train(*words) == 0
    for _ in range(2):
        for run in (evaluate, lambda: train("--resume")):
            load_dataset.cache_clear()  # as in another process
            assert run() == 0
    shown = capsys.readouterr().out
    for name in ("cache", "checkpoints", "results"):
        assert f"{name} (output of this program)" in shown
    assert read_results(workplace / "results/s/metrics.json").num_classes == 3
    assert len(list(workplace.glob("cache/*/train"))) == 1
