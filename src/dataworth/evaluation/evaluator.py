"""From a trained run to its scores on every split."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..data.loaders import Loader, get_loader, get_test_loader, get_val_loader
from ..data.pixels import Sources
from ..distributed.collectives import all_reduce_max, all_reduce_sum
from ..distributed.process_group import rank, world_size
from ..models.registry import build_model
from ..storage.files import DamagedError, write_whole
from ..storage.identity import check_same
from ..storage.run_directory import RunDirectory
from .intervals import beats_chance, chance_error, wilson_interval
from .metrics import Scores, score


@torch.inference_mode()
def predict(model: nn.Module, loader: Loader) -> tuple[Tensor, Tensor]:
    """Run ``model`` over every image once, without augmentation.

    Several processes take turns with whole batches, so that their number changes no bit.

    Returns
    -------
    logits : float32 Tensor of shape (n, classes)
    labels : int64 Tensor of shape (n,)
    """
    model.eval()
    turns = loader.whole(rank(), world_size())
    outputs = [(model(images).float(), labels) for images, labels in turns]
    if world_size() > 1:
        return _put_together([logits for logits, _ in outputs], loader)
    logits, labels = zip(*outputs, strict=True)
    return torch.cat(logits), torch.cat(labels)


def _put_together(outputs: Sequence[Tensor], loader: Loader) -> tuple[Tensor, Tensor]:
    """Return the logits of all processes' batches in the order of the images, and the labels."""
    (classes,) = all_reduce_max(
        *{part.shape[1] for part in outputs} or {0}
    )  # some may have no batch
    logits = torch.zeros(len(loader.split), classes, device=loader.device)
    for part, bounds in zip(outputs, loader.bounds()[rank() :: world_size()], strict=True):
        logits[slice(*bounds)] = part
    all_reduce_sum([logits.view(torch.int32)])  # as bits: nothing is rounded, -0.0 stays
    return logits, torch.from_numpy(loader.split.labels).to(loader.device)


def evaluate_runs(
    directories: Sequence[RunDirectory],
    sources: Sources,
    batch_size: int,
    predictions_dir: Path,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Score several runs, as :func:`evaluate_run`.

    Returns
    -------
    rows : list of dict
    failures : dict
        Path of a run whose weights will not do -> why.
    """
    rows, failures = [], {}
    for directory in tqdm(directories, desc="evaluating", unit="run", disable=None):
        try:
            rows.append(evaluate_run(directory, sources, batch_size, predictions_dir))
        except DamagedError as error:
            failures[str(directory.run().path)] = str(error)
    return rows, failures


def evaluate_run(
    directory: RunDirectory,
    sources: Sources,
    batch_size: int,
    predictions_dir: Path,
) -> dict[str, Any]:
    """Score the best weights of a finished run on every split; store test and validation logits.

    Returns
    -------
    dict
        One element of ``runs`` in metrics.json.

    Raises
    ------
    InputError
        If the data set is not the one that the run was trained on.
    DamagedError
        If the weights are not those that were written, or answer with infinity or NaN.
    """
    run, data, device = directory.run(), sources.data, sources.device
    recipe = run.recipe.replace(batch_size=batch_size)
    check_same(directory.path, directory.config(), {"data_sha256": data.digest})
    classes, subset = data.dataset.classes, directory.subset()
    model = build_model(recipe.model, len(classes), recipe.image_size).to(device)
    weights, epoch = directory.load_best()
    model.load_state_dict(weights)
    model = model.to(memory_format=torch.channels_last)
    test = predict(model, get_test_loader(sources, recipe))
    validation = predict(model, get_val_loader(sources, recipe))
    train = data.dataset.splits["train"].take(subset)
    fitted = predict(model, get_loader(sources, train, recipe))  # without augmentation
    if not all(logits.isfinite().all() for logits, _ in (test, validation, fitted)):
        raise DamagedError(f"{directory.path}: the weights answer with infinity or NaN")
    _save_predictions(predictions_dir / run.path, test=test, validation=validation)
    scores = score(*test)
    chance = chance_error(test[1].cpu().numpy())
    trained = beats_chance(scores.top_1_error, chance, scores.num_images)
    outcomes = {"test": scores, "validation": score(*validation), "train": score(*fitted)}
    return {
        "variant": run.variant,
        "model": recipe.model,
        "subset_size": run.subset_size,
        "seed": run.seed,
        "num_images": len(subset),
        "epochs": recipe.epochs,
        "best_epoch": epoch,
        "status": "complete" if trained else "untrained",
        "splits": {split: _as_row(outcome) for split, outcome in outcomes.items()},
    }


def _save_predictions(path: Path, **splits: tuple[Tensor, Tensor]) -> None:
    arrays: dict[str, Any] = {}
    for split, (logits, labels) in splits.items():
        arrays |= {f"{split}_logits": logits.cpu().numpy(), f"{split}_labels": labels.cpu().numpy()}
    file = io.BytesIO()
    np.savez(file, **arrays)
    write_whole(path.with_name(f"{path.name}.npz"), file.getvalue())


def _as_row(scores: Scores) -> dict[str, Any]:
    row: dict[str, Any] = {"num_images": scores.num_images, "loss": scores.loss}
    for k, error in ((1, scores.top_1_error), (5, scores.top_5_error)):
        row[f"top_{k}_error"] = error
        row[f"top_{k}_accuracy"] = None if error is None else 1 - error
        row[f"top_{k}_error_interval"] = (
            None if error is None else wilson_interval(error, scores.num_images)
        )
    return row
