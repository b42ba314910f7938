"""``dataworth export``: write a trained model with a model card to a folder; push it to the hub."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..console import say, warn
from ..errors import InputError
from ..storage.files import read_stored, write_whole
from .exit_codes import DONE, run_command
from .flags import ExportFlags
from .parsing import note_unused, parse

if TYPE_CHECKING:
    from ..prediction.classifier import Classifier


def export(words: Sequence[str] | None = None) -> None:
    """Export the model that the flags select; ``words`` default to the command line."""
    run_command(lambda: _export(words), "the same command begins again")


def _export(words: Sequence[str] | None) -> int:
    flags = parse(ExportFlags, words, ExportFlags())
    note_unused(flags, {"dry_run": (bool(flags.push_to), "--push-to")})
    if flags.push_to:
        check_push(flags.push_to, flags.dry_run)
    from ..prediction.model_card import data_name
    from ..prediction.selection import choose

    (classifier,) = choose(flags)
    files = exported_files(classifier, flags)
    for name, content in files.items():
        write_whole(flags.output / name, content)
    say(f"model        {flags.output / f'model.{flags.format}'}")
    say(f"card         {flags.output / 'README.md'}")
    if not flags.push_to:
        return DONE
    dataset = classifier.recipe.dataset
    if data_name(dataset) != dataset:
        warn(f"note: the metadata of the weights hold the path of the data set, {dataset}")
    if flags.dry_run:
        say(f"dry run      {flags.push_to} would get {', '.join(files)}; nothing was sent")
    else:
        say(f"pushed       {push(flags.output, files, flags.push_to)}")
    return DONE


def exported_files(classifier: Classifier, flags: ExportFlags) -> dict[str, bytes]:
    """Return name -> content of the files to write; the card, which names the others, is last.

    Raises
    ------
    InputError
        If the results of the run are damaged, or the format needs a package that is missing.
    """
    from ..conformal.thresholds import FILE
    from ..prediction.model_card import (
        CARD_FILE,
        CONFIG_FILE,
        CURVE_FILE,
        config_json,
        model_card,
        read_measured,
    )

    measured = read_measured(classifier, flags.results_dir)
    name = f"model.{flags.format}"
    files: dict[str, bytes] = {}
    if flags.format == "onnx":
        files[name] = onnx_bytes(classifier)
    else:
        files[name] = classifier.path.read_bytes()  # unchanged: conformal.json holds their SHA-256
        thresholds = classifier.path.with_name(FILE)
        if thresholds.exists():
            files[FILE] = read_stored(thresholds)
    files[CONFIG_FILE] = config_json(classifier)
    if measured and measured.curve:
        files[CURVE_FILE] = measured.curve
    card = model_card(classifier, name, files[name], measured, flags.license)
    files[CARD_FILE] = card.encode()
    return files


def check_push(repo_id: str, dry_run: bool) -> None:
    """Check name, network and token before the model is loaded.

    Parameters
    ----------
    repo_id : str
        OWNER/NAME on the hub.
    dry_run : bool
        Check the name alone.

    Raises
    ------
    InputError
        Saying what to do.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise InputError(f"--push-to {repo_id}: {' '.join(str(error).split())}") from None
    if "/" not in repo_id:
        raise InputError(f"--push-to {repo_id}: give OWNER/NAME")
    if dry_run:
        return
    if constants.HF_HUB_OFFLINE:
        raise InputError(
            f"--push-to {repo_id}: HF_HUB_OFFLINE is set; unset it, or write the folder alone by "
            "--dry-run"
        )
    if get_token() is None:
        raise InputError(
            f"--push-to {repo_id}: no token; hf auth login, or set HF_TOKEN to one that may write"
        )


def push(folder: Path, names: Iterable[str], repo_id: str) -> str:
    """Push files to a repository of the hub, a new one is private; return the address.

    Parameters
    ----------
    folder : Path
    names : iterable of str
        Files in the folder; no others are sent.
    repo_id : str
        OWNER/NAME.

    Raises
    ------
    InputError
        If the hub does not answer or refuses; the folder stays.
    """
    from huggingface_hub import HfApi

    try:
        url = HfApi().create_repo(repo_id, private=True, exist_ok=True)
        HfApi().upload_folder(
            repo_id=repo_id, folder_path=folder, allow_patterns=list(names),
            commit_message="Upload a model of dataworth",
        )  # fmt: skip
    except Exception as error:  # each version of the client has its own network errors
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(
            f"--push-to {repo_id}: {reason}; {folder} is whole: the same command pushes it"
        ) from None
    return str(url)


def onnx_bytes(classifier: Classifier) -> bytes:
    """Return the model as ONNX: ``images`` (batch, 3, size, size) to ``logits`` (batch, classes).

    Raises
    ------
    InputError
        If onnx and onnxscript are not installed.
    """
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise InputError("--format onnx: pip install onnx onnxscript") from None
    size = classifier.recipe.image_size
    example = torch.zeros(2, 3, size, size, device=classifier.device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within the exporter
        program = torch.onnx.export(
            classifier.model,
            (example,),
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            dynamo=True,
            verbose=False,
        )
        assert program is not None, "dynamo returns a program"
        content: bytes = program.model_proto.SerializeToString()
    return content
