"""Device, precision, threads and seeding: the only module that changes global torch state."""

from __future__ import annotations

import ctypes
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import numpy as np
import torch

from .errors import InputError
from .memory import available_bytes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of glibc's malloc.h
STREAM = 0x5EED_0003  # keeps these draws apart from every other use of the same seed


def pick_device(name: str, local_rank: int = 0, local_size: int = 1) -> torch.device:
    """Resolve ``auto`` to the best device available; with several ranks, one GPU each.

    Parameters
    ----------
    name : str
        ``auto``, or a device as torch names it, such as ``cuda:1``.
    local_rank, local_size : int
        Rank of this process among those of its machine, and their number.

    Raises
    ------
    InputError
        If the device is not available, or there are fewer GPUs than ranks.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return _gpu_of_rank(torch.device("cuda"), local_rank, local_size)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(
            f"--device {name}: not found on this machine; use --device auto or cpu"
        ) from None
    return _gpu_of_rank(device, local_rank, local_size) if device.type == "cuda" else device


def _gpu_of_rank(device: torch.device, local_rank: int, local_size: int) -> torch.device:
    """Return the requested GPU for a single process, else GPU ``local_rank``."""
    if local_size == 1:
        if device.index is not None:  # streams, graphs and generators follow the current device
            torch.cuda.set_device(device)
        return device
    if device.index is not None or local_size > torch.cuda.device_count():
        raise InputError(
            f"--device {device}: {local_size} processes take a GPU each and this machine has "
            f"{torch.cuda.device_count()}; start as many, with --device cuda"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


@cache
def has_bf16(device: torch.device) -> bool:
    """Whether the device has bfloat16 arithmetic in hardware."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


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
    """Return the autocast context of a forward pass; ``auto`` is bf16 if the hardware has it."""
    if precision == "fp32" or not has_bf16(device):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def use_threads(number: int) -> None:
    """Let torch use so many threads on the CPU; where it does already, MKL's settings stay."""
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)


def available_memory(device: torch.device) -> int:
    """Memory that this process can take, in bytes: on the host, within its cgroup's limits."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else available_bytes()


def prepare_process(device: torch.device) -> None:
    """Configure the process: cuDNN's fastest kernels on CUDA, glibc's allocator on the CPU.

    fp32 on CUDA means fp32, not TF32, so that errors do not depend on the GPU's generation. By
    default glibc returns buffers of 75 to 150 MB, such as AlexNet's, to the kernel after every
    step; zeroing them again takes a third of the step (LOG.md).
    """
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    elif sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(M_MMAP_MAX, 0)
            mallopt(M_TRIM_THRESHOLD, -1)


def release_free_memory() -> None:
    """Return freed buffers to the kernel, which :func:`prepare_process` told glibc to keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def random_state(device: torch.device) -> torch.Tensor:
    """Return the state of torch's generator for ``device``, from which dropout draws (uint8)."""
    if device.type == "cpu":
        return torch.get_rng_state()
    module = torch.get_device_module(device)
    return torch.as_tensor(module.get_rng_state())


def set_random_state(device: torch.device, state: torch.Tensor) -> None:
    """Restore the state of torch's generator for ``device``."""
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state)


def seed_torch(*key: int) -> None:
    """Seed torch's generators (weights, dropout) from integers such as (seed, epoch)."""
    state = np.random.SeedSequence([STREAM, *key]).generate_state(1, np.uint64)
    if torch.accelerator.is_available():
        torch.manual_seed(int(state[0]))
    else:  # torch would keep every seed, with a stack trace, for a GPU that never comes
        torch.default_generator.manual_seed(int(state[0]))
