"""Console script ``dataworth``: data, train, eval, predict, forecast, explore, export, track."""

from __future__ import annotations

import sys
from importlib import import_module

from .. import __version__
from ..console import say
from ..errors import InputError, did_you_mean
from .exit_codes import DONE, run_command  # nothing here imports pydantic: see run_subcommand

COMMANDS = {  # name of the command and of its module -> function, one line of help
    "data": ("data", "describe a data set, find its near duplicates"),
    "train": ("train", "train one model per subset size and seed"),
    "eval": ("evaluate", "evaluate the trained models of a study, fit the scaling law, draw it"),
    "predict": ("predict", "classify pictures with a trained model"),
    "forecast": ("forecast", "fit the scaling law to measured errors and forecast"),
    "explore": ("explore", "explore a study in the browser"),
    "export": ("export", "write a trained model and its model card to a folder"),
    "track": ("track", "replay a study into MLflow, trackio or Weights & Biases"),
}


def main() -> None:
    """Run the subcommand named on the command line."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        sys.argv = [f"dataworth {name}", *words]  # as --help and environment.json name the command
        run_subcommand(name)
    run_command(lambda: _answer(name), "nothing was begun")


def run_subcommand(name: str) -> None:
    """Run a command on the program's own words; its imports are interrupted in one line."""

    def command() -> int:
        getattr(import_module(f".{name}", __package__), COMMANDS[name][0])()
        return DONE

    run_command(command, "nothing was begun")


def _answer(name: str) -> int:
    """Print what ``dataworth`` says without a command."""
    if name not in ("-h", "--help", "--version"):
        hint = did_you_mean(name, COMMANDS) or "; see dataworth --help"
        raise InputError(f"no command {name!r:.80}{hint}")
    say(f"dataworth {__version__}" if name == "--version" else usage())
    return DONE


def usage() -> str:
    """Return the help text: one line per subcommand."""
    lines = (f"  {name:<9} {summary}" for name, (_, summary) in COMMANDS.items())
    return "\n".join([
        "usage: dataworth COMMAND [flags]",
        "       dataworth --version",
        "",
        *lines,
        "",
        "dataworth COMMAND --help lists the flags of a command.",
    ])  # fmt: skip
