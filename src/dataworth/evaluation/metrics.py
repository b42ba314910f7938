"""Loss and top-k errors of logits. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy


@dataclass(frozen=True)
class Scores:
    """Scores of a model on a split; errors are shares in [0, 1], the loss is in nats per image."""

    num_images: int
    loss: float
    top_1_error: float
    top_5_error: float | None  # None with fewer than 6 classes, where it is meaningless


def label_ranks(logits: Tensor, labels: Tensor) -> Tensor:
    """Rank of each true label among the classes, 0 being the most confident.

    Every top-k error follows from the ranks. Ties and NaN count as errors, so that a network that
    collapsed to a constant, or diverged, cannot look accurate.

    Parameters
    ----------
    logits : Tensor of shape (n, classes)
    labels : int64 Tensor of shape (n,)

    Returns
    -------
    int64 Tensor of shape (n,)
        Values in ``range(classes)``.
    """
    true = logits.gather(1, labels[:, None])  # (n, 1)
    return (~(logits < true)).sum(dim=1) - 1


def top_k_error(ranks: Tensor, k: int, num_classes: int) -> float | None:
    """Share of images whose label is not among the ``k`` most confident classes.

    Parameters
    ----------
    ranks : int64 Tensor of shape (n,)
        From :func:`label_ranks`.
    k : int
    num_classes : int
        The error is None unless there are more than ``k`` classes.
    """
    return None if k >= num_classes else (ranks >= k).sum().item() / len(ranks)


def compute_top_k_error(
    predictions: Tensor, targets: Tensor, topk: Sequence[int] = (1, 5)
) -> dict[str, float | None]:
    """Top-k errors and accuracies of a batch of predictions.

    Parameters
    ----------
    predictions : Tensor of shape (n, classes)
        Logits or probabilities: only their order matters.
    targets : int64 Tensor of shape (n,)
    topk : sequence of int

    Returns
    -------
    dict
        ``top-1-error``, ``top-1-accuracy`` and so on, shares in [0, 1]; None where k is not below
        the number of classes.
    """
    ranks = label_ranks(predictions, targets)
    results: dict[str, float | None] = {}
    for k in topk:
        error = top_k_error(ranks, k, predictions.shape[1])
        results[f"top-{k}-error"] = error
        results[f"top-{k}-accuracy"] = None if error is None else 1 - error
    return results


def score(logits: Tensor, labels: Tensor) -> Scores:
    """Score one split.

    Parameters
    ----------
    logits : Tensor of shape (n, classes)
    labels : int64 Tensor of shape (n,)
    """
    ranks, classes = label_ranks(logits, labels), logits.shape[1]
    top_1 = top_k_error(ranks, 1, classes)
    assert top_1 is not None, "a classifier has at least two classes"
    losses = cross_entropy(logits.float(), labels, reduction="none")
    loss = losses.cpu().to(torch.float64).mean().item()
    return Scores(len(ranks), loss, top_1, top_k_error(ranks, 5, classes))


def chance_loss(labels: Tensor) -> float:
    """Loss at chance level, in nats per image: entropy of the labels, ln(classes) if balanced.

    Parameters
    ----------
    labels : int64 Tensor of shape (n,)
    """
    shares = labels.bincount() / len(labels)
    return float(-torch.special.xlogy(shares, shares).sum())
