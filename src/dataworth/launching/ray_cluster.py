"""A Ray cluster: who may connect to it, and how many runs its nodes hold."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any

import torch

from ..config import Machine
from ..data.decoding import num_cores
from ..errors import InputError
from ..signals import kept
from .remote import settle

STORE_BYTES = 2**28  # of Ray's object store: labels travel through it, pixels do not
STARTS = 3  # Ray gives its parts 15 s to start, which a busy machine may miss
SURROUNDINGS = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # else Ray listens on every interface


def check_ray(machine: Machine) -> None:
    """Refuse what cannot work before anything is prepared.

    Raises
    ------
    InputError
        If Ray is missing, or the head can be reached by others and asks for no token.
    """
    if find_spec("ray") is None:
        raise InputError("--launcher ray: first pip install 'dataworth[ray]'")
    address = machine.ray_address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address not in (None, "auto"):
        _check_head(address)


def ray_slots(machine: Machine) -> int:
    """Count the runs that the cluster holds at a time."""
    check_ray(machine)
    with connected(machine) as granted:
        return num_places(granted, living_nodes())


@contextmanager
def connected(machine: Machine) -> Iterator[Machine]:
    """Connect to the cluster, or start one on the loopback interface; yield what a run gets."""
    host = (machine.ray_address or "localhost:").rpartition(":")[0]
    for name, value in {
        **SURROUNDINGS,
        **(LOOPBACK if host in ("127.0.0.1", "localhost") else {}),
    }.items():
        os.environ.setdefault(name, value)  # before the import, which reads them
    import ray

    try:
        with kept():
            _connect(machine.ray_address)
        if machine.ray_address:
            _check_head(ray.get_runtime_context().gcs_address)
        has_gpus = bool(ray.cluster_resources().get("GPU"))
        yield settle(machine, has_gpus, torch.get_num_threads())
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    import ray

    here: dict[str, Any] = {
        "num_cpus": num_cores(), "include_dashboard": False, "object_store_memory": STORE_BYTES,
    }  # fmt: skip
    options = {"address": address} if address else {"address": "local", **here}
    for left in reversed(range(1 if address else STARTS)):
        try:
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
            return
        except Exception as error:
            if not left:
                reason = str(error).strip().splitlines()[0]
                raise InputError(f"Ray, {address or 'started here'}: {reason}") from None
            ray.shutdown()


def living_nodes() -> list[dict[str, float]]:
    """Return the resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def num_places(machine: Machine, nodes: list[dict[str, float]]) -> int:
    """Count the runs that fit on the nodes at a time.

    Raises
    ------
    InputError
        If not even one does, naming what is asked and what is there.
    """
    cpus, gpus = machine.cpus_per_run or 1, machine.gpus_per_run or 0.0
    by_cpu = [int(node.get("CPU", 0) // cpus) for node in nodes]
    if gpus > 1:  # spread over the nodes, with so many CPUs beside each GPU
        by_gpu = [int(node.get("GPU", 0)) for node in nodes]
        places = int(sum(map(min, by_cpu, by_gpu)) // gpus)
    else:
        by_gpu = [int(node.get("GPU", 0) / gpus + 1e-9) if gpus else sys.maxsize for node in nodes]
        places = sum(map(min, by_cpu, by_gpu))
    if not places:
        there = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise InputError(
            f"--gpus-per-run {gpus:g} --cpus-per-run {cpus}: no node can hold a run; nodes have: "
            f"{there or 'nothing'}"
        )
    return places


def _check_head(address: str) -> None:
    """Refuse a head that other machines reach, unless a token is asked for."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        is_local = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_local = False
    if not is_local and os.environ.get("RAY_AUTH_MODE", "").lower() != "token":
        raise InputError(
            f"--ray-address {address}: whoever reaches a Ray head can run code on it; set "
            "RAY_AUTH_MODE=token here and on all nodes, or use a head that listens on 127.0.0.1"
        )
