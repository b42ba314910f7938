"""Readable class names: WordNet ids such as n02099601 become words (golden retriever)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

WORDNET_ID = r"n\d{8}"
LARGEST_SUBSET = "imagenet-22k"  # of timm's tables; it contains ImageNet-1k


def readable_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names to show for the classes of a data set, in the same order.

    Where every name is a WordNet id, the first word for it is taken from timm's ``ImageNetInfo``;
    a word that two classes share is followed by the id (crane n02012849). Other names, and ids
    that timm does not know, are returned unchanged.
    """
    if not classes or not all(re.fullmatch(WORDNET_ID, name) for name in classes):
        return tuple(classes)
    from timm.data import ImageNetInfo

    known = ImageNetInfo(LARGEST_SUBSET).label_descriptions(as_dict=True)
    words = [known.get(name, name).split(",")[0] for name in classes]
    counts = Counter(words)
    return tuple(
        word if counts[word] == 1 else f"{word} {name}"
        for word, name in zip(words, classes, strict=True)
    )
