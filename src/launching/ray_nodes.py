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

from ..config import InputError, Machine
from ..data.decoding import num_cores
from ..signals import kept
from .remote import settle

STORE_BYTES = 2**28  # of Ray's object store: labels travel through it, pixels do not
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
        raise InputError("--launcher ray: first pip install -r requirements-ray.txt")
    address = machine.ray_address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address not in (None, "auto"):
        _check_head(address)


def ray_slots(machine: Machine) -> int:
    """Count the runs that the cluster holds at a time."""
    check_ray(machine)
    with connected(machine) as granted:
        return num_places(granted)


@contextmanager
def connected(machine: Machine) -> Iterator[Machine]:
    """Connect to the cluster, or start one on the loopback interface; yield what a run gets."""
    for name, value in {**SURROUNDINGS, **({} if machine.ray_address else LOOPBACK)}.items():
        os.environ.setdefault(name, value)  # before the import, which reads them
    import ray

    here: dict[str, Any] = {
        "num_cpus": num_cores(), "include_dashboard": False, "object_store_memory": STORE_BYTES,
    }  # fmt: skip
    options = (
        {"address": machine.ray_address} if machine.ray_address else {"address": "local"} | here
    )
    try:
        with kept():
            try:
                ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
            except Exception as error:
                where = machine.ray_address or "a local instance"
                raise InputError(f"Ray, {where}: {str(error).strip().splitlines()[0]}") from None
        if machine.ray_address:
            _check_head(ray.get_runtime_context().gcs_address)
        has_gpus = bool(ray.cluster_resources().get("GPU"))
        yield settle(machine, has_gpus, torch.get_num_threads())
    finally:
        ray.shutdown()


def num_places(machine: Machine) -> int:
    """Count the runs that fit on the living nodes."""
    import ray

    cpus, gpus = machine.cpus_per_run or 1, machine.gpus_per_run or 0.0
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if gpus > 1:  # spread over the nodes, with so many CPUs beside each GPU
        return int(sum(min(n.get("GPU", 0), n.get("CPU", 0) // cpus) for n in nodes) // gpus)
    by_cpu = [int(node.get("CPU", 0) // cpus) for node in nodes]
    by_gpu = [int(node.get("GPU", 0) / gpus + 1e-9) if gpus else sys.maxsize for node in nodes]
    return sum(map(min, by_cpu, by_gpu))


def unplaceable(machine: Machine) -> str:
    """Say what a run asks for and what the nodes have."""
    import ray

    nodes = (node["Resources"] for node in ray.nodes() if node["Alive"])
    there = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
    return (
        f"--gpus-per-run {machine.gpus_per_run:g} --cpus-per-run {machine.cpus_per_run}: "
        f"no node of the cluster can hold a run; they have: {there}"
    )


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
