"""``dataworth explore``: serve a page on which a study answers."""

from __future__ import annotations

from collections.abc import Sequence

from ..explorer.flags import ExplorerFlags
from .exit_codes import exit_with
from .parsing import parse


def explore(words: Sequence[str] | None = None) -> None:
    """Serve a page on which a study answers."""
    exit_with(lambda: _explore(words), "the page is closed, uploads are deleted")


def _explore(words: Sequence[str] | None) -> int:
    flags = parse(ExplorerFlags, words, ExplorerFlags())
    from ..explorer.server import serve

    return serve(flags)
