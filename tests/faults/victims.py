"""Real processes that announce where they are, so that a test can strike there.

Children are forked from a server that has imported torch once: a process costs a tenth of a
second instead of four. They compute in one thread, so that all of them give the same bits.
"""

import functools
import importlib
import multiprocessing
import os
import resource
import signal
import socket
import sys
import time
from multiprocessing import forkserver
from pathlib import Path

from tests.conftest import PATHS

CONTEXT = multiprocessing.get_context("forkserver")
STEP = ("dataworth.training.trainer:Trainer.train_step", "step", "after")


def start_server():
    """Start the server with the surroundings that its children inherit."""
    ours = {"PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    CONTEXT.set_forkserver_preload(["tests.faults.preload"])
    forkserver.ensure_running()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


class Victim:
    """A function of one list of words, in a process of its own.

    Each mark is (module:function, line, when): the process prints the line whenever it enters
    ("before") or has left ("after") the function; ("hold", k) stops it for good at the k-th entry.
    """

    def __init__(self, function, words=(), marks=(), file_limit=None):
        self.pipe, theirs = CONTEXT.Pipe(duplex=False)
        words = [str(word) for word in words]
        arguments = (theirs, function, words, marks, Path.cwd(), file_limit)
        self.process = CONTEXT.Process(target=_live, args=arguments)
        self.process.start()
        theirs.close()
        self.pid, self.output = self.process.pid, []
        self.lines = open(self.pipe.fileno(), closefd=False, errors="replace")  # noqa: SIM115

    def until(self, start, count=1):
        """Read until the ``count``-th line that begins so; None if the output ends before."""
        for line in self.lines:
            self.output.append(line)
            count -= line.startswith(start)
            if count == 0:
                return line
        return None

    def strike(self, number=signal.SIGKILL):
        """Send a signal and wait for the end."""
        os.kill(self.pid, number)
        return self.end()

    def end(self):
        """Read what is left; return the exit code, negative where a signal killed it."""
        self.output += self.lines.readlines()
        self.process.join(60)
        assert self.process.exitcode is not None, "hangs"
        self.lines.close()
        self.pipe.close()
        return self.process.exitcode

    @property
    def text(self):
        return "".join(self.output)


def team(function, words=(), size=2, marks=(), patience=60):
    """Victims that train together, as torchrun starts them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return [
        Victim(
            "tests.faults.actors:be_one_of", [rank, size, port, patience, function, *words], marks
        )
        for rank in range(size)
    ]


def _live(pipe, function, words, marks, folder, file_limit):
    os.dup2(pipe.fileno(), 1)
    os.dup2(pipe.fileno(), 2)
    pipe.close()
    sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever started the tests
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    for mark in marks:
        _announce(*mark)
    module, name = function.split(":")
    getattr(importlib.import_module(module), name)(words)


def _announce(path, line, when):
    module, names = path.split(":")
    *parents, name = names.split(".")
    parent = functools.reduce(getattr, parents, importlib.import_module(module))
    original, calls = getattr(parent, name), iter(range(1, 10**9))

    @functools.wraps(original)
    def announced(*args, **kwargs):
        if when == ("hold", next(calls)):
            os.write(1, f"{line}\n".encode())
            time.sleep(600)
        if when == "before":
            os.write(1, f"{line}\n".encode())
        result = original(*args, **kwargs)
        if when == "after":
            os.write(1, f"{line}\n".encode())
        return result

    setattr(parent, name, announced)
