"""Devices, precision and random streams: the only module that touches global torch state."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import numpy as np
import torch

from .config import InputError

STREAM = 0x5EED_0003  # keeps these draws apart from every other use of the same seed


def pick_device(name: str) -> torch.device:
    """Resolve ``auto`` to the best device present.

    Raises
    ------
    InputError
        If the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(
            f"--device {name}: not found on this machine; use --device auto or cpu"
        ) from None
    return device


def has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    found = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def check_precision(device: torch.device, precision: str) -> None:
    """Refuse bf16 on hardware without it.

    Raises
    ------
    InputError
        If ``precision`` is bf16 and the device would only emulate it.
    """
    if precision == "bf16" and not has_bf16(device):
        raise InputError(f"--precision bf16: {device} has no bfloat16 arithmetic; use auto or fp32")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Arithmetic of the training step; ``auto`` is bf16 where the hardware has it."""
    if precision == "fp32" or not has_bf16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def seed_torch(*key: int) -> None:
    """Seed torch's generators (weights, dropout) from whole numbers such as (seed, epoch)."""
    state = np.random.SeedSequence([STREAM, *key]).generate_state(1, np.uint64)
    torch.manual_seed(int(state[0]))
