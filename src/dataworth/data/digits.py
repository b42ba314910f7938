"""scikit-learn's handwritten digits, read without its import and without the package datasets.

Both imports together take 1.6 CPU-seconds, in every command on the quick-start study.
"""

from __future__ import annotations

import gzip
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .subsets import Indices, stratified_order

if TYPE_CHECKING:
    import datasets

SEED = 0  # of the test split: the same images for every study
NUM_TEST = 360
NAMES = tuple(str(digit) for digit in range(10))


class Image:
    """Type of the image column, found by its name like that of ``datasets``."""


class ClassLabel(NamedTuple):
    """Type of the label column."""

    names: list[str]


@dataclass(frozen=True, eq=False)
class DigitsTable:
    """Images and labels with the methods of a ``datasets.Dataset`` that loading needs."""

    pixels: NDArray[np.uint8]  # (n, 8, 8)
    labels: Indices  # (n,)

    @property
    def features(self) -> Mapping[str, Any]:
        """Columns and their types."""
        return {"image": Image(), "label": ClassLabel(list(NAMES))}

    @cached_property
    def _fingerprint(self) -> str:
        content = self.pixels.tobytes() + self.labels.astype("<i8").tobytes()
        return hashlib.sha256(content).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int | str) -> Any:
        """Return a row, its image encoded as PNG, or a column."""
        if key == "label":
            return self.labels.tolist()
        if isinstance(key, str):
            return [self[row][key] for row in range(len(self))]
        return {"image": self._encoded(key), "label": int(self.labels[key])}

    def _encoded(self, row: int) -> dict[str, Any]:
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(self.pixels[row]).save(file, "png")
        return {"bytes": file.getvalue(), "path": None}

    def with_format(self, kind: str | None) -> Any:
        """Return a table whose columns are lists for None, else of that format."""
        return self if kind is None else self.to_dataset().with_format(kind)

    def select(self, rows: range) -> Any:
        """Return some rows as a ``datasets.Dataset``."""
        return self.to_dataset().select(rows)

    def to_dataset(self) -> datasets.Dataset:
        """Return the table as a ``datasets.Dataset``."""
        import datasets

        label = datasets.ClassLabel(names=list(NAMES))
        return datasets.Dataset.from_dict(
            {name: self[name] for name in self.features},
            features=datasets.Features({"image": datasets.Image(), "label": label}),
        )


def digits() -> Mapping[str, DigitsTable]:
    """Return scikit-learn's 1,797 8 x 8 images of handwritten digits (Alpaydin and Kaynak 1998)."""
    images, labels = _read()
    pixels = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    order = stratified_order(labels, SEED)
    rows = {"train": np.sort(order[NUM_TEST:]), "test": np.sort(order[:NUM_TEST])}
    return {name: DigitsTable(pixels[split], labels[split]) for name, split in rows.items()}


def _read() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return 64 pixels and the label of each digit.

    If their file is not in the usual place any more, scikit-learn is imported and finds it.
    """
    spec = find_spec("sklearn")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    try:
        with gzip.open(folder / "datasets" / "data" / "digits.csv.gz") as file:
            table = np.loadtxt(file, delimiter=",")
        images, labels = table[:, :-1], table[:, -1]
    except (OSError, EOFError, ValueError, IndexError):
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
    return images, labels.astype(np.int64)
