"""Exploratory data analysis: tables and example images of a data set, for eda.ipynb."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ..config import Machine, Recipe, Study
from ..storage.study_directory import STUDY_FILE, StudyDirectory
from .datasets import ImageDataset
from .groups import PAIRS
from .images import decode, header
from .loaders import get_train_loader
from .near_duplicates import THRESHOLD, Pool, near_duplicates
from .normalisation import ChannelStats
from .pixels import PixelStores
from .prepare import PreparedData, open_data
from .subsets import Indices, composition

Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
MAX_SAMPLED = 2000  # images whose headers are read


def newest_data(
    checkpoint_dir: Path = Path("checkpoints"),
) -> tuple[Recipe, PreparedData, list[float | int]]:
    """Open the data of the newest study; the digits if there is no study yet.

    Returns
    -------
    recipe : Recipe
    data : PreparedData
    sizes : list of float or int
        Subset sizes of the study.
    """
    if not any(checkpoint_dir.glob(f"*/{STUDY_FILE}")):
        recipe = Recipe(dataset="digits", model="alexnet-small", image_size=32)
        return recipe, open_data(recipe, Machine()), list(Study().subset_sizes)
    study = StudyDirectory.find(checkpoint_dir)
    recipe = study.pinned(study.record.recipe)
    sizes = list(study.requested[-1].subset_sizes)
    return recipe, open_data(recipe, study.machine(lambda stored: stored, "cache_dir")), sizes


def describe(dataset: ImageDataset) -> str:
    """Describe classes, splits and notes of a data set in Markdown."""
    splits = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    examples = ", ".join(f"`{name}`" for name in dataset.class_names[:5])
    notes = "".join(f"\n- {note}" for note in dataset.notes)
    text = (
        f"**{dataset.name}: {len(dataset.classes)} classes**, such as {examples}; {splits} images."
    )
    return f"{text}\n{notes}"


def splits_table(dataset: ImageDataset) -> pd.DataFrame:
    """Return images, classes and the smallest and largest class of each split."""
    rows = []
    for name, split in dataset.splits.items():
        counts = np.bincount(split.labels, minlength=len(dataset.classes))
        present = counts[counts > 0]
        rows.append(
            {
                "split": name,
                "taken from": split.source,
                "images": len(split),
                "classes": len(present),
                "smallest class": present.min(),
                "largest class": present.max(),
            }
        )
    return pd.DataFrame(rows).set_index("split")


def composition_table(labels: Indices, sizes: Sequence[float | int], seed: int = 0) -> pd.DataFrame:
    """Return images and images per class of each subset of a training split.

    Parameters
    ----------
    labels : int64 ndarray of shape (n,)
    sizes : sequence of float or int
        Shares or counts.
    seed : int
    """
    return pd.DataFrame(composition(labels, sizes, seed)).set_index("size")


def mini_imagenet_labels() -> Indices:
    """Labels of mini-ImageNet's training split as published: 100 classes of 500 images."""
    return np.repeat(np.arange(100), 500)


def image_facts(dataset: ImageDataset, seed: int = 0) -> pd.DataFrame:
    """Return width, height (pixels) and mode of up to ``MAX_SAMPLED`` random training images."""
    split = dataset.splits["train"]
    rows = np.random.default_rng(seed).permutation(split.rows)[:MAX_SAMPLED]
    facts = [header(dataset.encoded(split.source, int(row))) for row in rows]
    return pd.DataFrame(facts, columns=["width", "height", "mode"])


def modes_table(facts: pd.DataFrame) -> pd.DataFrame:
    """Count images per mode (RGB, L: grey, ...), with their range of sizes."""
    groups = facts.groupby("mode")
    table = groups.agg(
        {"width": ["min", "median", "max"], "height": ["min", "median", "max"]}
    ).astype(int)
    table.insert(0, ("images", ""), groups.size())
    return table


def duplicates_table(data: PreparedData) -> pd.DataFrame:
    """Count the images that two splits share, byte for byte."""
    rows = [{"splits": f"{a}, {b}", "shared images": data.duplicates(a, b)} for a, b in PAIRS]
    return pd.DataFrame(rows).set_index("splits")


def near_duplicates_table(
    data: PreparedData, threshold: float = THRESHOLD, features: Features | None = None
) -> pd.DataFrame:
    """Return one row per pair of near duplicates, the most similar first.

    Of both images (``_1``, and ``_2`` of the same or a later split): the split, the ``index`` in
    it, the ``row`` of the published split, class and file. ``exact`` pairs are equal byte for byte.

    Parameters
    ----------
    data : PreparedData
    threshold : float
        Similarity, in [0, 1], from which on a pair counts.
    features : callable or None
        Features (b, d) of images (b, side, side, 3) by a trained network, which find more pairs.
    """
    splits = data.dataset.splits
    pool = Pool([(data.images[split.source], split.rows) for split in splits.values()])
    duplicates = near_duplicates(pool, threshold, features and pool.apply(features))
    ends = np.cumsum([0, *map(len, splits.values())])
    columns: dict[str, list[object]] = {}
    digests = []
    for number, image in enumerate(duplicates.pairs.T, start=1):
        part = np.searchsorted(ends, image, side="right") - 1
        names = [list(splits)[k] for k in part]
        places = [(splits[name], int(i)) for name, i in zip(names, image - ends[part], strict=True)]
        labels = [int(split.labels[i]) for split, i in places]
        rows = [(split.source, int(split.rows[i])) for split, i in places]
        digests.append([data.digests[source][row].tobytes() for source, row in rows])
        columns |= {
            f"split_{number}": list(names),
            f"index_{number}": [i for _, i in places],
            f"row_{number}": [row for _, row in rows],
            f"class_{number}": [data.dataset.class_names[label] for label in labels],
            f"file_{number}": [data.dataset.file_name(*row) for row in rows],
        }
    exact = [a == b for a, b in zip(*digests, strict=True)]
    return pd.DataFrame({"similarity": duplicates.similarity.round(4), "exact": exact, **columns})


def near_duplicates_summary(pairs: pd.DataFrame, data: PreparedData) -> pd.DataFrame:
    """Count near duplicates within and across splits; shares are of the second split's images."""
    rows = []
    for first, second in [*((name, name) for name in data.dataset.splits), *PAIRS]:
        chosen = pairs[(pairs["split_1"] == first) & (pairs["split_2"] == second)]
        images = set(chosen["index_2"]) | (set(chosen["index_1"]) if first == second else set())
        rows.append(
            {
                "splits": first if first == second else f"{first}, {second}",
                "pairs": len(chosen),
                "equal byte for byte": int(chosen["exact"].sum()),
                "of different classes": int((chosen["class_1"] != chosen["class_2"]).sum()),
                "images of the last split": len(images),
                "share": f"{100 * len(images) / len(data.dataset.splits[second]):.2f} %",
            }
        )
    return pd.DataFrame(rows).set_index("splits")


def near_duplicate_images(
    pairs: pd.DataFrame, data: PreparedData, count: int = 24
) -> tuple[list[str], list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]]:
    """Return the images of some pairs, evenly spaced from the most to the least similar.

    Parameters
    ----------
    pairs : DataFrame
        From :func:`near_duplicates_table`.
    data : PreparedData
    count : int
        Pairs at most.

    Returns
    -------
    titles : list of str
        Similarity and splits of each pair.
    images : list of pairs of uint8 ndarray of shape (side, side, 3)
    """
    places = np.linspace(0, len(pairs) - 1, min(count, len(pairs))).round().astype(int)
    titles, images = [], []
    for _, pair in pairs.iloc[places].iterrows():
        names = list(dict.fromkeys([pair["split_1"], pair["split_2"]]))
        titles.append(f"{pair['similarity']:.2f} {', '.join(names)}")
        first, second = (
            np.asarray(
                data.images[data.dataset.splits[pair[f"split_{k}"]].source][pair[f"row_{k}"]]
            )
            for k in (1, 2)
        )
        images.append((first, second))
    return titles, images


def augmentation_examples(
    data: PreparedData, recipe: Recipe, count: int = 6
) -> tuple[list[str], dict[str, list[NDArray[np.generic]]]]:
    """Return random training images at each stage of preprocessing and augmentation.

    Parameters
    ----------
    data : PreparedData
    recipe : Recipe
    count : int
        Number of images.

    Returns
    -------
    classes : list of str
        Class of each image.
    stages : dict of str to list of ndarray of shape (height, width, 3)
        As published, in the cache (uint8), and in two epochs of training (float in [0, 1]).
    """
    split = data.dataset.splits["train"]
    indices = np.sort(np.random.default_rng(0).permutation(len(split))[:count])
    one_batch = recipe.replace(batch_size=count, budget="epochs")
    loader = get_train_loader(PixelStores(data, torch.device("cpu")), indices, one_batch)
    stages: dict[str, list[NDArray[np.generic]]] = {"as published": [], "in the cache": []}
    for row in split.rows[indices]:
        encoded = data.dataset.encoded(split.source, int(row))
        stages["as published"].append(np.asarray(decode(encoded)))
        stages["in the cache"].append(data.images[split.source][row])
    for epoch in (0, 1):
        order = loader.augmentation(seed=1, number=epoch).order
        (batch, _), *_ = loader.epoch_images(seed=1, epoch=epoch)
        images = [batch[np.flatnonzero(order == i)[0]] for i in range(count)]
        stages[f"epoch {epoch + 1}"] = [
            _denormalise(image, loader.channel_stats) for image in images
        ]
    return [data.dataset.class_names[label] for label in split.labels[indices]], stages


def _denormalise(image: torch.Tensor, stats: ChannelStats) -> NDArray[np.float32]:
    """Undo the normalisation of an image (3, size, size)."""
    mean, std = (torch.tensor(values) for values in stats)
    pixels: NDArray[np.float32] = (image.permute(1, 2, 0) * std + mean).clamp(0, 1).numpy()
    return pixels
