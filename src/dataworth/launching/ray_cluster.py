"""Ray cluster: connection, access check, number of runs that fit on the nodes."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address

import torch

from ..config import Machine
from ..data.decoding import num_cores
from ..errors import InputError
from ..signals import preserved_handlers
from .remote import run_machine

STORE_BYTES = 2**28  # of Ray's object store, which holds labels but no pixels
MAX_STARTS = 3  # Ray gives its processes 15 s to start, too short on a busy machine
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # else Ray listens on every interface


def check_ray(machine: Machine) -> None:
    """Check package and access before the data are prepared.

    Raises
    ------
    InputError
        If Ray is not installed, or other machines can reach its head without a token.
    """
    if find_spec("ray") is None:
        raise InputError("--launcher ray: first pip install 'dataworth[ray]'")
    address = machine.ray_address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address not in (None, "auto"):
        _check_head(address)


def ray_slots(machine: Machine) -> int:
    """Return how many runs the cluster trains at a time."""
    check_ray(machine)
    with connected(machine) as per_run:
        return num_slots(per_run, alive_nodes())


@contextmanager
def connected(machine: Machine) -> Iterator[Machine]:
    """Connect to a cluster, or start one on the loopback interface; yield the machine of a run.

    Raises
    ------
    InputError
        If the cluster cannot be reached or started, or others can reach its head without a token.
    """
    host = (machine.ray_address or "localhost:").rpartition(":")[0]
    for name, value in {
        **ENVIRONMENT,
        **(LOOPBACK if host in ("127.0.0.1", "localhost") else {}),
    }.items():
        os.environ.setdefault(name, value)  # before the import, which reads them
    import ray

    try:
        with preserved_handlers():
            _connect(machine.ray_address)
        if machine.ray_address:
            _check_head(ray.get_runtime_context().gcs_address)
        has_gpus = bool(ray.cluster_resources().get("GPU"))
        yield run_machine(machine, has_gpus, torch.get_num_threads())
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    import ray

    start = partial(ray.init, log_to_driver=False, logging_level=logging.ERROR)
    if address:
        start = partial(start, address=address)
    else:
        start = partial(
            start, address="local", num_cpus=num_cores(), include_dashboard=False,
            object_store_memory=STORE_BYTES,
        )  # fmt: skip
    for num_left in reversed(range(1 if address else MAX_STARTS)):
        try:
            start()
            return
        except Exception as error:
            if not num_left:
                reason = str(error).strip().splitlines()[0]
                raise InputError(f"Ray, {address or 'started here'}: {reason}") from None
            ray.shutdown()


def alive_nodes() -> list[dict[str, float]]:
    """Return the resources of each node that is alive, by name."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def num_slots(machine: Machine, nodes: list[dict[str, float]]) -> int:
    """Return how many runs fit on the nodes at a time.

    Parameters
    ----------
    machine : Machine
        Of a run, from :func:`run_machine`.
    nodes : list of dict
        Resources of each node.

    Raises
    ------
    InputError
        If no node can hold a run, naming the requested and the available resources.
    """
    cpus, gpus = machine.cpus_per_run or 1, machine.gpus_per_run or 0.0
    by_cpu = [int(node.get("CPU", 0) // cpus) for node in nodes]
    if gpus > 1:  # spread over the nodes; each GPU takes its CPUs from its own node
        by_gpu = [int(node.get("GPU", 0)) for node in nodes]
        slots = int(sum(map(min, by_cpu, by_gpu)) // gpus)
    else:
        by_gpu = [int(node.get("GPU", 0) / gpus + 1e-9) if gpus else sys.maxsize for node in nodes]
        slots = sum(map(min, by_cpu, by_gpu))
    if not slots:
        available = "; ".join(f"{n.get('CPU', 0):g} CPUs, {n.get('GPU', 0):g} GPUs" for n in nodes)
        raise InputError(
            f"--gpus-per-run {gpus:g} --cpus-per-run {cpus}: no node can hold a run; nodes have: "
            f"{available or 'nothing'}"
        )
    return slots


def _check_head(address: str) -> None:
    """Refuse a head that other machines can reach, unless token authentication is on."""
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
