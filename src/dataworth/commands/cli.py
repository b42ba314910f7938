"""Console script ``dataworth``: subcommands train, eval, predict, forecast, explore, export."""

from __future__ import annotations

import sys
from importlib import import_module

from .. import __version__
from ..errors import did_you_mean
from ..signals import handle_signals
from .exit_codes import DONE, INPUT

COMMANDS = {  # name of the command and of its module -> function, one line of help
    "train": ("train", "train one model per subset size and seed, from fresh weights"),
    "eval": ("evaluate", "evaluate the trained models of a study, fit the scaling law, draw it"),
    "predict": ("predict", "classify pictures with a trained model"),
    "forecast": ("forecast", "fit the scaling law to measured errors and forecast"),
    "explore": ("explore", "explore a study in the browser"),
    "export": ("export", "write a trained model and its model card to a folder"),
}


def main() -> None:
    """Run the subcommand named on the command line."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        sys.argv = [f"dataworth {name}", *words]  # as --help and environment.json name the command
        with handle_signals():  # from the first import on
            module = import_module(f".{name}", __package__)
            getattr(module, COMMANDS[name][0])(words)
    if name in ("-h", "--help"):
        print(usage())
        sys.exit(DONE)
    if name == "--version":
        print(f"dataworth {__version__}")
        sys.exit(DONE)
    hint = did_you_mean(name, COMMANDS) or "; see dataworth --help"
    print(f"error: no command {name!r:.80}{hint}", file=sys.stderr)
    sys.exit(INPUT)


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
