"""Data sets, splits, decoding, the cache, augmentation and loaders."""

import io
import json
import os
from importlib.util import find_spec

import datasets as hf
import huggingface_hub
import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from dataworth.config import Machine, Recipe
from dataworth.data import cache, decoding, pixels, prepare
from dataworth.data import digits as embedded_digits
from dataworth.data.augmentation import AugmentedEpoch
from dataworth.data.class_names import readable_names
from dataworth.data.datasets import DATASETS, load
from dataworth.data.images import BadImageError, decode, decode_square, has_fast_jpeg, square
from dataworth.data.loaders import get_loader, get_train_loader, get_val_loader
from dataworth.data.normalisation import normalise
from dataworth.data.pixels import PixelStores, pixels_on_device
from dataworth.data.prepare import open_data
from dataworth.data.splits import Split
from dataworth.errors import InputError
from tests import made


def png(value, size=(8, 8)):
    file = io.BytesIO()
    Image.new("RGB", size, (value, 0, 255 - value)).save(file, "png")
    return {"bytes": file.getvalue()}


def table(labels, kind="class", **extra):
    names = [f"c{i}" for i in range(4)]
    feature = {"class": hf.ClassLabel(names=names), "int": hf.Value("int64")}
    features = {"image": hf.Image(), "label": feature.get(kind, hf.Value("string"))}
    columns = {"image": [png(i % 256) for i in range(len(labels))], "label": list(labels)}
    for name, (feature_, values) in extra.items():
        features[name], columns[name] = feature_, values
    return hf.Dataset.from_dict(columns, features=hf.Features(features))


FOUR = [i % 4 for i in range(40)]
FEW = "4 classes: there is no top-5 error with fewer than 6"


@pytest.fixture
def registered(monkeypatch):
    """Register the data set ``crafted`` for one test."""

    def register(**splits):
        monkeypatch.setitem(DATASETS, "crafted", lambda: splits)
        return load(Recipe(dataset="crafted"))

    return register


@pytest.mark.parametrize("name", DATASETS)
def test_every_registered_data_set_has_three_usable_splits(name):
    data = load(Recipe(dataset=name))
    for split in data.splits.values():
        assert set(split.labels) == set(range(len(data.classes)))
        cell = data.tables[split.source][int(split.rows[0])]["image"]
        assert decode(cell["bytes"]).mode == "RGB"


def test_missing_validation_is_held_out_of_train(registered):
    data = registered(train=table(FOUR), test=table(FOUR))
    train, validation = data.splits["train"], data.splits["validation"]
    assert (len(train), len(validation)) == (36, 4)
    assert sorted(validation.labels) == [0, 1, 2, 3]
    assert not set(train.rows) & set(validation.rows)
    assert "4 images carved from train" in data.notes[0]


@pytest.mark.parametrize("name", ["validation", "val", "valid", "dev"])
def test_validation_split_is_recognised_by_any_usual_name(registered, name):
    data = registered(**{"train": table(FOUR), name: table(FOUR[:8]), "test": table(FOUR)})
    assert data.splits["validation"].source == name
    assert data.notes == (FEW,)


@pytest.mark.fault(42)
@pytest.mark.parametrize("test", [None, [-1] * 8])
def test_validation_serves_as_test_where_test_is_missing_or_withheld(registered, test):
    splits = {"train": table(FOUR), "validation": table(FOUR[:8])}
    if test:
        splits["test"] = table(test)
    data = registered(**splits)
    assert data.splits["test"].source == "validation"
    assert data.splits["validation"].source == "train"
    assert len(data.notes) == 3
    assert data.notes[-1] == FEW


@pytest.mark.fault(42)
def test_train_alone_is_split_in_three(registered):
    data = registered(train=table(FOUR))
    assert {name: len(split) for name, split in data.splits.items()} == {
        "train": 32,
        "validation": 4,
        "test": 4,
    }
    rows = np.concatenate([split.rows for split in data.splits.values()])
    assert sorted(rows) == list(range(40))


@pytest.mark.fault(41)
@pytest.mark.parametrize(("kind", "labels"), [("str", list("dbca")), ("int", [30, 10, 20, 7])])
def test_strings_and_integers_are_encoded_in_sorted_order(registered, kind, labels):
    data = registered(train=table(labels * 10, kind))
    assert data.classes == tuple(str(label) for label in sorted(labels))
    train = data.splits["train"]
    assert data.classes[train.labels[0]] == str((labels * 10)[train.rows[0]])


def test_fine_label_is_taken_where_there_is_no_label(monkeypatch):
    fine = (hf.ClassLabel(names=["x", "y"]), [i % 2 for i in range(40)])
    splits = {"train": table(FOUR, fine_label=fine).rename_column("label", "coarse_label")}
    monkeypatch.setitem(DATASETS, "crafted", lambda: splits)
    assert load(Recipe(dataset="crafted")).classes == ("x", "y")
    chosen = load(Recipe(dataset="crafted", label_column="coarse_label"))
    assert len(chosen.classes) == 4


def test_only_the_hubs_mini_imagenet_has_a_note_about_its_splits(workplace, monkeypatch):
    splits = {name: table(FOUR) for name in ("train", "validation", "test")}
    with monkeypatch.context() as patch:
        patch.setattr(hf, "load_dataset", lambda name, revision: splits)
        assert "not comparable" in load(Recipe(dataset_revision="main")).notes[0]
        assert load(Recipe(dataset="me/mini-imagenet", dataset_revision="main")).notes == (FEW,)
    for name in ("data/mini-imagenet-84", "timm/mini-imagenet"):
        (workplace / name).mkdir(parents=True)
        for split, rows in splits.items():
            rows.to_parquet(workplace / name / f"{split}.parquet")
        assert load(Recipe(dataset=name)).notes == (FEW,)


def crafted_two_labels():
    other = (hf.ClassLabel(names=["x", "y"]), [i % 2 for i in range(40)])
    return {"train": table(FOUR, b=other).rename_column("label", "a")}


@pytest.mark.fault(41, 42)
@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (
            lambda: {"train": table([*FOUR[:7], None])},
            "split train: labels that are none of the 4 classes of train: None in",
        ),
        (lambda: {"train": table([*FOUR[:7], -1])}, "-1 in row 7"),
        (
            lambda: {"train": table([0, 1, 4] * 9, "int"), "test": table([5] * 3, "int")},
            "5 in row 0",
        ),
        (lambda: {"train": table([0, 1] * 9), "test": table(FOUR)}, "2 classes that train lacks"),
        (lambda: {"train": table([2] * 40)}, "1 class; two are needed; no test split: 4 images"),
        (
            lambda: {"train": table([2])},
            "no test split, and making one of the 1 images of train wo",
        ),
        (lambda: {"test": table(FOUR)}, "no split named train (found: test)"),
        (lambda: {"train": table([])}, "no images"),
        (crafted_two_labels, "label columns: a, b; name one by --label-column"),
        (lambda: {"train": table(FOUR).remove_columns("image")}, "image columns: none"),
        (lambda: {"train": table(FOUR).cast_column("label", hf.Value("float32"))}, "float"),
    ],
)
def test_unusable_labels_are_refused_in_one_line(registered, splits, message):
    with pytest.raises(InputError) as caught:
        registered(**splits())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.fault(41)
@pytest.mark.parametrize("split", ["train", "test"])
def test_some_labels_of_minus_one_are_no_class(registered, split):
    labels = {"train": [0, 1] * 20, "test": [0, 1] * 4}
    labels[split][3] = labels[split][5] = -1
    with pytest.raises(InputError, match=rf"split {split}: .*-1 in row 3, -1 in row 5"):
        registered(**{s: table(values, "int") for s, values in labels.items()})


def other_class_order(table, names):
    """The same rows under class names in another order, some of them new."""
    old = table.features["label"].names
    codes = [names.index(old[code]) for code in table["label"]]
    features = hf.Features({**table.features, "label": hf.ClassLabel(names=list(names))})
    return hf.Dataset.from_dict({"image": table["image"], "label": codes}, features=features)


def publish(monkeypatch, workplace, folders):
    """Make folders the downloads of hub data sets; return their names there, and a commit."""
    commit, load_dataset, paths = "0123456789" * 4, hf.load_dataset, {}
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(workplace / "hub"))
    for folder in folders:
        path = workplace / "hub" / f"datasets--owner--{folder}" / "snapshots" / commit
        paths[f"owner/{folder}"] = path
        for file in (workplace / folder).rglob("*.parquet"):
            link = path / file.relative_to(workplace / folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    monkeypatch.setattr(hf, "load_dataset", lambda name, revision: load_dataset(str(paths[name])))
    return list(paths), commit


@pytest.mark.fault(41, 42)
@pytest.mark.parametrize("kind", ["parquet", "hub", "registered"])
def test_classes_in_another_order_are_matched_by_name(registered, workplace, monkeypatch, kind):
    """Not by number, by which each test image would be labelled with the class of another."""
    train, test = table([0, 1, 2] * 12), table([0, 1, 2] * 4)
    names = train.features["label"].names
    moved = other_class_order(test, [names[2], *names[:2], *names[3:]])
    if kind == "registered":
        other = registered(train=train, test=moved)
        expected = registered(train=train, test=test)
    else:
        for folder, last in (("moved", moved), ("same", test)):
            (workplace / folder / "data").mkdir(parents=True)
            for split, part in (("train", train), ("test", last)):
                part.to_parquet(workplace / folder / "data" / f"{split}-00000-of-00001.parquet")
        names, commit = ["moved", "same"], None
        if kind == "hub":
            names, commit = publish(monkeypatch, workplace, names)
        other, expected = (load(Recipe(dataset=n, dataset_revision=commit)) for n in names)
    assert other.classes == expected.classes
    assert list(other.splits["test"].labels) == list(expected.splits["test"].labels)


@pytest.mark.fault(41, 42)
def test_a_class_name_that_train_lacks_is_refused(registered):
    test = other_class_order(table([0, 1, 2, 2] * 3), ["c3", "zebra", "c2", "c1", "c0"])
    relabelled = test.with_format(None)["label"][:]
    relabelled[5] = 1
    test = hf.Dataset.from_dict(
        {"image": test["image"], "label": relabelled}, features=test.features
    )
    with pytest.raises(InputError, match=r"split test: .*'zebra' in row 5"):
        registered(train=table(FOUR), test=test)


@pytest.mark.fault(41, 42)
def test_parquet_files_of_a_split_that_number_classes_differently_are_refused(workplace):
    train = table([0, 1, 2] * 12)
    names = train.features["label"].names
    (workplace / "set" / "data").mkdir(parents=True)
    for i, part in enumerate((train, other_class_order(train, names[::-1]))):
        part.to_parquet(workplace / "set" / "data" / f"train-{i:05}-of-00002.parquet")
    with pytest.raises(InputError, match=r"train-00001-of-00002\.parquet: .*other class names"):
        load(Recipe(dataset="set"))


@pytest.mark.parametrize("flag", ["image", "label"])
def test_unknown_columns_are_refused_with_the_known_ones(flag):
    with pytest.raises(InputError, match=f"--{flag}-column: no column 'x'; the columns are image"):
        load(Recipe(dataset="digits", **{f"{flag}_column": "x"}))


def test_a_folder_as_on_the_hub_loads_with_its_class_names(workplace):
    folder = made.write_coloured("photos", 8, train=64, validation=16, test=24)
    data = load(Recipe(dataset=str(folder)))
    assert [len(split) for split in data.splits.values()] == [64, 16, 24]
    assert data.classes[0] == "n10000000"


def test_class_folders_load_and_broken_rows_are_named(workplace):
    folder = made.write_class_folders("photos", 8, 10)
    data = open_data(Recipe(dataset=str(folder), image_size=16), Machine())
    assert data.dataset.classes == tuple(f"class {k}" for k in range(8))
    assert sum(len(split) for split in data.dataset.splits.values()) == 80
    for name, row in (("corrupt-row", 7), ("garbage-row", 3), ("null-image-row", 4)):
        folder = made.write_bad_data_set(name, name)
        with pytest.raises(InputError, match=f"split train, row {row}: "):
            open_data(Recipe(dataset=str(folder), image_size=16), Machine())
    assert not list(workplace.glob("cache/*/train"))[1:]  # only the good one is there


@pytest.mark.fault(38)
def test_rows_never_open_a_path_outside_their_data_set(workplace):
    folder = made.write_bad_data_set("d", "path-only-row")
    with pytest.raises(InputError, match="row 4: the row has no bytes"):
        open_data(Recipe(dataset=str(folder), image_size=16), Machine())


@pytest.mark.fault(44)
def test_damaged_parquet_is_named(workplace):
    folder = made.write_bad_data_set("d", "truncated-parquet")
    with pytest.raises(InputError, match=r"train-00000-of-00001\.parquet is damaged"):
        load(Recipe(dataset=str(folder)))


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (64, 64), (9, 300), (257, 256), (1, 1)])
@pytest.mark.parametrize("side", [32, 256])
def test_square_is_torchvisions_resize_and_centre_crop(size, side):
    from torchvision.transforms import v2

    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    theirs = v2.Compose([v2.Resize(side), v2.CenterCrop(side)])(image)
    difference = np.abs(square(image, side).astype(int) - np.asarray(theirs, dtype=int))
    assert difference.max() <= 1


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (300, 256), (256, 900), (64, 64)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_fast_jpeg_gives_the_same_pixels(size, mode):
    from torchvision.transforms import v2

    if not has_fast_jpeg():
        pytest.skip("torchvision has no JPEG decoder any more")
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)
    file = io.BytesIO()
    image.save(file, "jpeg")
    theirs = v2.Compose([v2.Resize(256), v2.CenterCrop(256)])(decode(file.getvalue()))
    ours = decode_square(file.getvalue(), 256, fast=True)
    assert np.abs(ours.astype(int) - np.asarray(theirs, dtype=int)).max() <= 1


def test_fast_jpeg_turns_and_refuses_as_pillow_does():
    for name in made.IMAGES:
        content = made.image_file(name)
        squares = []
        for fast in (False, True):
            try:
                squares.append(decode_square(content, 64, fast).astype(int))
            except BadImageError:
                squares.append(None)
        slow, quick = squares
        assert (slow is None) == (quick is None), name
        assert slow is None or np.abs(slow - quick).max() <= 2, name


def test_very_wide_image_costs_no_memory():
    assert square(Image.new("RGB", (40_000, 1)), 256).shape == (256, 256, 3)


def test_orientation_16_bits_and_alpha():
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.new("RGB", (20, 10)).save(file, "jpeg", exif=exif)
    assert decode(file.getvalue()).size == (10, 20)
    grey = io.BytesIO()
    Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16)).save(grey, "png")
    assert np.asarray(decode(grey.getvalue()))[0, :, 0].tolist() == [0, 127, 255]
    clear = io.BytesIO()
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(clear, "png")
    assert decode(clear.getvalue()).getpixel((0, 0)) == (10, 20, 30)


def test_bombs_and_text_are_refused_before_they_are_decoded():
    with pytest.raises(BadImageError, match="exceed 40,000,000"):
        decode(made.bomb())
    with pytest.raises(BadImageError, match=r"not a whole image: cannot identify image file$"):
        decode(b"<html>404</html>")


@pytest.fixture
def digits(workplace):
    return open_data(Recipe(dataset="digits", image_size=32), Machine())


def test_cache_is_built_once_and_shared(digits, monkeypatch):
    prepare._open.cache_clear()
    monkeypatch.setattr(cache, "_build", lambda *_: pytest.fail("built again"))
    again = open_data(Recipe(dataset="digits", image_size=32, epochs=7), Machine())
    assert np.array_equal(again.images["train"], digits.images["train"])
    assert again.digest == digits.digest


@pytest.mark.fault(44)
@pytest.mark.parametrize("harm", ["flip", "truncate", "manifest", "empty", "digests"])
def test_damaged_cache_is_rebuilt(digits, harm):
    (folder,) = (p.parent for p in prepare.Path("cache").glob("*/train/manifest.json"))
    before = np.array(digits.images["train"])
    names = {"manifest": "manifest.json", "empty": "manifest.json", "digests": "digests.npy"}
    path = folder / names.get(harm, "images.npy")
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[-1000] ^= 1
    path.unlink()
    if harm != "digests":
        damaged = {"flip": content, "empty": b"{}"}.get(harm, content[: len(content) // 2])
        path.write_bytes(damaged)
    prepare._open.cache_clear()
    again = open_data(Recipe(dataset="digits", image_size=32), Machine())
    assert np.array_equal(again.images["train"], before)
    assert not list(folder.parent.glob(".*"))


def test_processes_decode_the_same_pixels(digits, monkeypatch):
    prepare._open.cache_clear()
    monkeypatch.setattr(decoding, "MIN_PER_WORKER", 500)
    recipe = Recipe(dataset="digits", image_size=32)
    parallel = open_data(recipe, Machine(workers=2, cache_dir="other"))
    assert np.array_equal(parallel.images["train"], digits.images["train"])


@pytest.mark.fault(46)
def test_full_disk_is_refused_before_decoding(workplace, monkeypatch):
    monkeypatch.setattr(
        cache.shutil, "disk_usage", lambda _: cache.shutil._ntuple_diskusage(1, 1, 1000)
    )
    with pytest.raises(InputError, match=r"decoded images 0\.01 GB need 0\.01 GB and 0\.00 GB are"):
        open_data(Recipe(dataset="digits", image_size=31), Machine())
    assert not (workplace / "cache").exists()


def test_manifest_counts_the_images(digits):
    (path,) = prepare.Path("cache").glob("*/test/manifest.json")
    manifest = json.loads(path.read_text())
    assert manifest["num_images"] == 360


@pytest.mark.fault(47)
def test_duplicates_across_splits_are_counted(workplace, monkeypatch):
    many = table([i % 4 for i in range(300)])  # the first 44 images come twice
    splits = {"train": table(FOUR), "validation": many, "test": table(FOUR[:12])}
    monkeypatch.setitem(DATASETS, "twice", lambda: splits)
    data = open_data(Recipe(dataset="twice", image_size=8), Machine())
    assert data.duplicates("train", "test") == 12
    assert data.duplicates("train", "validation") == 80


def test_each_image_column_has_its_own_pixels(workplace, monkeypatch):
    masks = (hf.Image(), [png(255 - i) for i in range(40)])
    splits = {"train": table(FOUR, mask=masks), "test": table(FOUR, mask=masks)}
    monkeypatch.setitem(DATASETS, "masked", lambda: splits)
    first, second = (
        open_data(Recipe(dataset="masked", image_size=8, image_column=name), Machine())
        for name in ("image", "mask")
    )
    assert first.digest != second.digest
    assert not np.array_equal(first.images["train"], second.images["train"])


def test_other_files_in_the_cache_are_ignored(digits):
    (manifest,) = prepare.Path("cache").glob("*/test/manifest.json")
    (manifest.parents[1] / ".DS_Store").write_text("")
    manifest.unlink()
    prepare._open.cache_clear()
    assert len(open_data(Recipe(dataset="digits", image_size=32), Machine()).images["test"]) == 360


def test_no_batches_for_a_rank_is_no_error():
    store = pixels.HostPixels(np.zeros((4, 8, 8, 3), np.uint8), torch.device("meta"))
    split = Split("test", np.arange(4), np.zeros(4, int))
    assert list(store.batches(split, AugmentedEpoch.unaugmented(4, 0), 8, [])) == []


def test_augmentation_is_a_function_of_seed_and_epoch():
    augmented = AugmentedEpoch.draw(100, 36, 7, seed=1, epoch=2)
    again = AugmentedEpoch.draw(100, 36, 7, seed=1, epoch=2)
    other = AugmentedEpoch.draw(100, 36, 7, seed=1, epoch=3)
    assert sorted(augmented.order) == list(range(100))
    assert np.array_equal(augmented.order, again.order)
    assert np.array_equal(augmented.left, again.left)
    assert not np.array_equal(augmented.order, other.order)
    assert augmented.top.min() == 0
    assert augmented.top.max() == 29


@pytest.mark.parametrize("residency", ["device", "host"])
def test_training_batches_are_crops_and_flips_of_the_cached_images(digits, residency):
    stores = PixelStores(digits, torch.device("cpu"), residency)
    recipe = Recipe(dataset="digits", image_size=32, batch_size=50)
    indices = np.arange(0, 1293, 10)
    loader = get_train_loader(stores, indices, recipe)
    augmented = AugmentedEpoch.draw(len(indices), 36, 32, 7, 3)
    batches = list(loader.epoch_images(7, 3))
    images = torch.cat([images for images, _ in batches])
    rows = loader.split.rows[augmented.order]
    for i in (0, 17, 129):
        cached = digits.images["train"][rows[i]]
        crop = cached[
            augmented.top[i] : augmented.top[i] + 32, augmented.left[i] : augmented.left[i] + 32
        ]
        crop = crop[:, ::-1] if augmented.flipped[i] else crop
        assert torch.equal(images[i], normalise(torch.from_numpy(crop.copy())[None])[0])
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert {len(labels) for _, labels in batches} == {43, 44}  # 130 images in 3 even batches


@pytest.mark.parametrize("residency", ["device", "host"])
def test_evaluation_sees_every_image_once_in_order(digits, residency):
    stores = PixelStores(digits, torch.device("cpu"), residency)
    recipe = Recipe(dataset="digits", image_size=32, batch_size=100)
    loader = get_val_loader(stores, recipe)
    images, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert torch.equal(labels, torch.from_numpy(loader.split.labels))
    centre = digits.images["train"][loader.split.rows[5]][2:34, 2:34]
    assert torch.equal(images[5], normalise(torch.from_numpy(centre.copy())[None])[0])
    single = get_loader(stores, loader.split.take(np.array([3])), recipe)
    assert len(list(single)) == 1


def test_pixels_that_do_not_fit_are_refused_with_both_sizes(digits, monkeypatch):
    monkeypatch.setattr(pixels, "available_memory", lambda _: 1_000_000)
    with pytest.raises(InputError, match=r"take 0\.0 GB and cpu has 0\.0 GB free; use --residency"):
        pixels_on_device(digits, torch.device("cpu"), "device")
    assert not pixels_on_device(digits, torch.device("cpu"), "auto")


def test_pixels_are_placed_where_the_system_counts_no_free_pages(digits, monkeypatch):
    """As on macOS."""
    monkeypatch.delitem(os.sysconf_names, "SC_AVPHYS_PAGES")
    assert not pixels_on_device(digits, torch.device("cpu"), "auto")
    assert pixels_on_device(digits, torch.device("cpu"), "device")


def test_normalise_is_torchvisions():
    from torchvision.transforms import v2

    from dataworth.data.normalisation import IMAGENET_MEAN, IMAGENET_STD

    pixels = torch.randint(0, 256, (2, 5, 5, 3), dtype=torch.uint8)
    theirs = v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)(pixels.permute(0, 3, 1, 2) / 255)
    assert torch.allclose(normalise(pixels), theirs, atol=1e-5)


def test_wordnet_ids_are_shown_as_words():
    ids = ["n02099601", "n03126707", "n02012849"]
    assert readable_names(ids) == ("golden retriever", "crane n03126707", "crane n02012849")
    assert readable_names(["n02099601", "cat"]) == ("n02099601", "cat")
    assert readable_names(["n99999999", "n02099601"]) == ("n99999999", "golden retriever")


def test_the_digits_are_scikit_learns_wherever_it_keeps_them(monkeypatch):
    images, labels = load_digits(return_X_y=True)
    for spec in (find_spec("sklearn"), None):
        monkeypatch.setattr(embedded_digits, "find_spec", lambda _, spec=spec: spec)
        read_images, read_labels = embedded_digits._read()
        assert (read_images == images).all()
        assert (read_labels == labels).all()


def test_a_cache_of_the_library_that_cannot_be_written_is_named(workplace, monkeypatch):
    """As in a home that does not exist or is read-only."""
    (workplace / "photos" / "train" / "a").mkdir(parents=True)
    (workplace / "photos" / "train" / "a" / "1.png").write_bytes(png(1)["bytes"])
    (workplace / "home").touch()
    monkeypatch.setattr(hf.config, "HF_DATASETS_CACHE", str(workplace / "home" / "datasets"))
    for name in ("photos", "some/data-set"):
        with pytest.raises(InputError, match=r"home/datasets: .*; data sets .*set HF_HOME to"):
            load(Recipe(dataset=name))
