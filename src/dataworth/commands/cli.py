"""The console script ``dataworth``: one subcommand per file of this folder."""

from __future__ import annotations

import sys
from importlib import import_module

from ..signals import listening
from .exit_codes import DONE, INPUT

COMMANDS = {  # name -> function, in the module of that name, and what it does
    "train": ("train", "train one fresh model per subset size and seed"),
    "eval": ("evaluate", "score the trained models of a study, fit the law, draw it"),
    "predict": ("predict", "classify pictures with a trained run"),
    "forecast": ("forecast", "fit the law to measured errors and forecast"),
    "explore": ("explore", "explore a study in the browser"),
    "export": ("export", "write a trained model and its model card to a folder"),
}


def main() -> None:
    """Run the subcommand that the command line names."""
    name, *words = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        with listening():  # to signals, from the first import on
            module = import_module(f".{name}", __package__)
            getattr(module, COMMANDS[name][0])(words)
    if name in ("-h", "--help"):
        print(usage())
        sys.exit(DONE)
    print(f"error: no command {name!r}; commands: {', '.join(COMMANDS)}", file=sys.stderr)
    sys.exit(INPUT)


def usage() -> str:
    """List the subcommands."""
    lines = (f"  {name:<9} {does}" for name, (_, does) in COMMANDS.items())
    return "\n".join(["usage: dataworth COMMAND [flags]", "", *lines, "",
                      "COMMAND --help lists the flags."])  # fmt: skip
