"""Weights of a finished run: best.safetensors, with the identity of the run in its metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DamagedError
from .identity import check_origin

if TYPE_CHECKING:
    from torch import Tensor

FILE = "best.safetensors"


def encode_weights(weights: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> bytes:
    """Encode weights with metadata; equal runs give equal bytes.

    Parameters
    ----------
    weights : mapping of str to Tensor
    metadata : mapping
        Identity of the run; ``epoch`` of the weights; ``classes``, the class names.
    """
    from safetensors.torch import save

    tensors = {key: tensor.contiguous() for key, tensor in weights.items()}
    return save(tensors, {"run": json.dumps(metadata)})  # of several keys the order is random


def check_weights(path: Path, identity: Mapping[str, Any], remedy: str = "") -> int:
    """Return the epoch of a run's weights; the tensors are not read.

    Parameters
    ----------
    path : Path
    identity : mapping
        Of the run.
    remedy : str
        What to do next, after a semicolon; empty if the caller does it.

    Raises
    ------
    DamagedError
        If they are missing, no weights of a run, or those of another one.
    OSError
        If the file cannot be read.
    """
    from safetensors import safe_open

    if not path.is_file():  # a FIFO would block
        reason = "no regular file" if path.exists() else "missing"
        raise DamagedError(f"{path} is {reason}{remedy}")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()  # early versions wrote nothing but the epoch
        details = json.loads(metadata["run"]) if "run" in metadata else metadata
        if (epoch := int(details["epoch"])) < 0:  # 0: diverged in the first
            raise ValueError("no epoch")
    except OSError:
        raise
    except Exception as error:  # safetensors and json raise many types on hostile bytes
        raise DamagedError(f"{_no_weights(path, error)}{remedy}") from None
    check_origin(path, details, identity, remedy)
    return epoch


def read_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """Read the tensors of a file of weights into CPU memory.

    Raises
    ------
    DamagedError
        If it is none.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except Exception as error:  # as above
        raise DamagedError(f"{_no_weights(path, error)}{remedy}") from None


def _no_weights(path: Path, error: Exception) -> str:
    return f"{path} holds no weights of a run ({type(error).__name__})"
