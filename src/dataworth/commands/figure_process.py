"""Figures of ``dataworth eval``, drawn in a process of their own while this one scores and fits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, os_error_message
from ..launching.side_by_side import DEATH, WorkerPool

if TYPE_CHECKING:
    import pandas as pd

    from ..evaluation.records import StudyResults
    from ..findings.study import VariantFindings


def saves_time() -> bool:
    """Whether a process for the figures ends sooner: another core, and torch not yet imported."""
    from ..data.decoding import num_cores

    return num_cores() > 1 and "torch" not in sys.modules and parent_process() is None


class FigureProcess:
    """A process that imports matplotlib while this one imports torch, and then draws.

    Parameters
    ----------
    is_apart : bool
        Whether there is such a process. Without it, and if it dies, :meth:`finish` draws here.
    """

    def __init__(self, is_apart: bool) -> None:
        self.pool, self.is_drawing = WorkerPool(None), False
        if is_apart:
            self.pool.start(1, num_threads=1)
            self.pool.ask(_import)

    def begin(self, results: StudyResults, epochs: pd.DataFrame, folder: Path) -> None:
        """Begin to draw; this process goes on.

        Parameters
        ----------
        results : StudyResults
        epochs : DataFrame
            From ``storage.study_directory.epochs_table``.
        folder : Path
            As for :func:`draw`.
        """
        self._wait()  # for the imports
        if self.pool.workers:
            self.pool.ask(Drawing(results, epochs, folder))
            self.is_drawing = True

    def finish(self, findings: Sequence[VariantFindings], folder: Path) -> None:
        """Wait for the figures, or draw them here; parameters as in :func:`draw`.

        Raises
        ------
        InputError
            If a figure cannot be written.
        """
        if not self.is_drawing or not self._wait():
            draw(findings, folder)

    def stop(self) -> None:
        """End the process; what it writes is removed, unless it is whole."""
        if not self.pool.busy() or not self.is_drawing:
            self.pool.shrink(0)
        self.pool.stop()

    def _wait(self) -> bool:
        """Wait for the answer to the last request; return whether there is one."""
        events = []
        while self.pool.busy():
            events += self.pool.wait()
        return all(event.kind != DEATH for event in events)


@dataclass(frozen=True)
class Drawing:
    """A request to a worker: analyse the results and draw them."""

    results: StudyResults
    epochs: pd.DataFrame
    folder: Path

    def __call__(self, _context: Any, _report: Callable[[Any], None]) -> None:
        """Draw the figures in the worker's process."""
        from ..findings.study import analyse_variants

        try:
            draw(analyse_variants(self.results, self.epochs), self.folder)
        except OSError as error:
            raise InputError(os_error_message(error)) from None


def _import(_context: Any, _report: Callable[[Any], None]) -> None:
    """Import what :func:`draw` needs."""
    with suppress(ImportError):  # named when it draws
        import matplotlib.backends.backend_agg
        import matplotlib.backends.backend_pdf  # noqa: F401

        from ..figures import scaling  # noqa: F401


def draw(findings: Sequence[VariantFindings], folder: Path) -> None:
    """Save the figures of each variant, and one of all per error metric.

    Parameters
    ----------
    findings : sequence of VariantFindings
    folder : Path
        Where the PNG and PDF files go.
    """
    from ..figures.files import save_printed
    from ..figures.scaling import plot_variants, save_figures

    for variant in findings:
        if variant.curves:
            save_figures(variant.curves, variant.sizes, variant.epochs, folder / variant.variant)
    for metric, ax in plot_variants(findings).items():
        save_printed(ax, folder / f"{metric}.png")
