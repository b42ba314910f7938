"""``dataworth explore``: serve a local web page about a finished study."""

from __future__ import annotations

from collections.abc import Sequence

from ..explorer.flags import ExplorerFlags
from .exit_codes import run_command
from .parsing import parse


def explore(words: Sequence[str] | None = None) -> None:
    """Serve a local web page about a finished study, until a signal ends it."""
    run_command(lambda: _explore(words), "the page is closed, uploads are deleted")


def _explore(words: Sequence[str] | None) -> int:
    flags = parse(ExplorerFlags, words, ExplorerFlags())
    from ..explorer.server import serve

    return serve(flags)
