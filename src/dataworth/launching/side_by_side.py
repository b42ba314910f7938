"""Worker processes that answer requests side by side: their start, messages, deaths and end.

A terminal sends Ctrl-C and its hang-up to all processes of a command. The workers block both: the
main process decides, and passes a signal on as SIGTERM. If it dies, its workers are killed.

Workers are fresh processes, for forking one with threads may deadlock it; or forks of a server
process that has nothing but imported, see :func:`start_server`.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver, get_context, resource_tracker
from multiprocessing.context import BaseContext
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from ..console import warn
from ..errors import InputError
from ..signals import (
    SignalInterrupt,
    deferred_signals,
    end_with_parent,
    handle_signals,
    received_signal,
)

FROM_TERMINAL = (signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # of Linux's prctl.h
LINE, REPORT, RESULT, ERROR, DEATH = "line", "report", "result", "error", "death"


class _State:
    """How workers are started."""

    context: BaseContext = get_context("spawn")


def start_server(*modules: str) -> None:
    """Start a process that imports modules while this one goes on; workers are then forked from it.

    Each of them would import the modules by itself, which takes longer than many a run.

    Parameters
    ----------
    modules : str
        Whose import starts no threads; one that is missing is skipped.
    """
    root = str(Path(__file__).resolve().parents[2])
    if sys.platform != "linux" or sys.flags.ignore_environment or os.pathsep in root:
        return  # macOS's libraries do not survive a fork; the server would not find this package
    context = get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    search_path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    resource_tracker.ensure_running()  # its start would unblock the signals
    # Nothing is imported from the working directory.
    variables = {**_threads(1), "PYTHONPATH": search_path, "PYTHONSAFEPATH": "1"}
    # A SIGTERM to all processes must not end the server: its workers are killed with it.
    blocked = _blocked_signals(*FROM_TERMINAL, signal.SIGTERM)
    with deferred_signals(), blocked, _environment(variables):
        forkserver.ensure_running()
    _State.context = context


class Event(NamedTuple):
    """What happened to the request of a worker: a report, its result, or the worker's death."""

    request: Any  # None: the worker had nothing to do
    kind: str
    value: Any  # of a death: the reason in words


class WorkerDiedError(Exception):
    """A worker died instead of answering."""


class Worker:
    """A process, its pipe, and the request under way."""

    def __init__(self, num_threads: int) -> None:
        self.pipe, child_end = _State.context.Pipe()
        self.request: Any = None
        process: Any = _State.context.Process  # type: ignore[attr-defined]
        self.process = process(target=_serve, args=(child_end,), daemon=True)
        resource_tracker.ensure_running()  # its start would unblock the signals
        with _environment(_threads(num_threads)), _blocked_signals(*FROM_TERMINAL):
            self.process.start()
        child_end.close()

    def send(self, value: Any) -> None:
        """Send the context or a request; of a dead worker, :meth:`receive` tells."""
        with suppress(OSError):
            self.pipe.send(value)

    def receive(self) -> tuple[str, Any]:
        """Return kind and value of the next message."""
        try:
            message: tuple[str, Any] = self.pipe.recv()
            return message
        except (EOFError, OSError):
            self.process.join()
            self.pipe.close()
            code = self.process.exitcode or 0
            number = -code if code < 0 else code - 128
            with suppress(ValueError):
                return DEATH, f"killed by {signal.Signals(number).name}"
            return DEATH, f"ended with exit code {code}"


class WorkerPool:
    """Workers that hold the same context; a request is called with it and a function that reports.

    Parameters
    ----------
    context : object
        Pickled, once for each worker.
    """

    def __init__(self, context: Any) -> None:
        self.context = context
        self.workers: list[Worker] = []

    def busy(self) -> list[Any]:
        """Return the requests under way."""
        return [worker.request for worker in self.workers if worker.request is not None]

    def start(self, num_workers: int, num_threads: int) -> None:
        """Start workers until there are ``num_workers``; a signal meanwhile is raised afterwards.

        Parameters
        ----------
        num_workers : int
        num_threads : int
            Of each, set before torch makes its threads.
        """
        with deferred_signals():
            missing = range(num_workers - len(self.workers))
            started = [Worker(num_threads) for _ in missing]  # all import at the same time
            self.workers += started
        for worker in started:
            worker.send(self.context)

    def ask(self, request: Callable[[Any, Callable[[Any], None]], Any]) -> None:
        """Send a request to an idle worker."""
        worker = next(worker for worker in self.workers if worker.request is None)
        worker.request = request
        worker.send(request)

    def wait(self) -> list[Event]:
        """Wait for the next events; lines that a worker printed are printed here.

        Raises
        ------
        InputError
            That a worker raised.
        """
        events = []
        ready = connection.wait([worker.pipe for worker in self.workers])
        for worker in [worker for worker in self.workers if worker.pipe in ready]:
            kind, value = worker.receive()
            if kind == LINE:
                warn(value)
                continue
            if kind == ERROR:
                raise value
            events.append(Event(worker.request, kind, value))
            if kind != REPORT:
                worker.request = None
            if kind == DEATH:
                self.workers.remove(worker)
        return events

    def answers(self, requests: Sequence[Any]) -> list[Any]:
        """Return the answers to requests that are made as workers become idle, in their order.

        Raises
        ------
        WorkerDiedError
            If a worker dies.
        """
        waiting, values = deque(requests), dict[int, Any]()
        while waiting or self.busy():
            while waiting and len(self.busy()) < len(self.workers):
                self.ask(waiting.popleft())
            for event in self.wait():
                if event.kind == DEATH:
                    raise WorkerDiedError(event.value)
                if event.kind == RESULT:
                    values[id(event.request)] = event.value
        return [values[id(request)] for request in requests]

    def shrink(self, num_workers: int) -> None:
        """Kill workers, none of which writes a file, until there are ``num_workers``."""
        surplus, self.workers = self.workers[num_workers:], self.workers[:num_workers]
        for worker in surplus:
            worker.process.kill()
            while worker.receive()[0] != DEATH:
                pass  # what it had sent before

    def stop(self) -> None:
        """End the workers, each when its run is saved; a signal meanwhile is raised afterwards."""
        with deferred_signals():
            for worker in self.workers:
                worker.process.terminate()
            while self.workers:
                with suppress(InputError):
                    self.wait()


def _serve(pipe: connection.Connection) -> None:
    """Answer requests until the main process ends this one."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # which a server blocks
    end_with_parent()
    if sys.platform == "linux":  # at once, even within a long computation
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    lock = Lock()  # a thread that writes a snapshot may print

    def send(kind: str, value: Any) -> None:
        with lock:
            pipe.send((kind, value))

    sys.stdout = sys.stderr = _Lines(lambda line: send(LINE, line))
    with handle_signals():
        try:
            context = pipe.recv()
            while True:
                request = pipe.recv()
                send(RESULT, request(context, lambda value: send(REPORT, value)))
        except InputError as error:
            send(ERROR, error)
        except EOFError:
            pass
        except SignalInterrupt:
            sys.exit(128 + (received_signal() or 0))


class _Lines(io.TextIOBase):
    """A stream that hands on each line."""

    encoding = "utf-8"

    def __init__(self, hand_on: Callable[[str], None]) -> None:
        self.hand_on, self.rest = hand_on, ""

    def write(self, text: str) -> int:
        """Hand on the lines that ``text`` completes."""
        *lines, self.rest = (self.rest + text).split("\n")
        for line in lines:
            self.hand_on(line)
        return len(text)


def _threads(number: int) -> Mapping[str, str]:
    """Return the variables that a process reads before it makes its threads."""
    return {
        "OMP_NUM_THREADS": str(number),
        "MKL_NUM_THREADS": str(number),
        "OMP_PROC_BIND": "false",  # else the threads of all workers share the first cores
    }


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set what a process that is started meanwhile inherits."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@contextmanager
def _blocked_signals(*numbers: signal.Signals) -> Iterator[None]:
    """Block signals; a process started meanwhile inherits it."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
