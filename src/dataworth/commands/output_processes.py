"""Laws, files and figures of ``dataworth eval``, made side by side in processes of their own.

They import what they need while the main process imports torch and scores.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..launching.side_by_side import WorkerDiedError, WorkerPool, start_server
from ..storage.run_directory import RunDirectory
from ..storage.study_directory import epochs_table
from .flags import EvalFlags

if TYPE_CHECKING:
    import pandas as pd

    from ..evaluation.records import StudyResults
    from ..findings.curves import Curve
    from ..findings.study import VariantFindings
    from ..findings.training import TrainingFindings
    from ..findings.worth import OptionsWorth

METRICS = ("top_1_error", "top_5_error")  # of each variant, a curve each
MAX_PROCESSES = 8  # of 0.2 GB each
IMPORTS = (
    "dataworth.commands.exit_codes",
    "dataworth.commands.eval_output",
    "dataworth.figures.scaling",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
)


def saves_time() -> bool:
    """Whether more processes end sooner: another core, and torch not yet imported."""
    from ..data.decoding import num_cores

    return num_cores() > 1 and "torch" not in sys.modules and parent_process() is None


@dataclass(frozen=True)
class Findings:
    """What was found, beside the files: in words, and for the report."""

    text: str
    variants: Sequence[VariantFindings]
    worth: OptionsWorth | None  # of several variants
    training: TrainingFindings | None


@dataclass
class Output:
    """What the output of an evaluation is made of; sent to each process once."""

    results: StudyResults
    directories: Sequence[RunDirectory]  # of the evaluated runs
    flags: EvalFlags
    notes: Sequence[str]  # from eval_output.add_scores
    folder: Path  # of the results
    fitted: Mapping[tuple[str, str], Curve] | None = None  # of variant and metric; None: not yet

    @cached_property
    def epochs(self) -> pd.DataFrame:
        """The content of epochs.csv."""
        return epochs_table(self.directories)

    @cached_property
    def variants(self) -> list[VariantFindings]:
        """The analysis of every variant, from the laws that are fitted already."""
        from ..findings.study import analyse_variants

        return analyse_variants(self.results, self.epochs, self.fitted)

    def write(self) -> Findings:
        """Write the tables, the laws and metrics.json; return what was found."""
        from ..findings.training import training_findings
        from .eval_output import describe_findings, find_worth, write_files

        results, variants = self.results, self.variants
        worth = find_worth(variants, self.flags)
        training = training_findings({results.experiment_id: results})
        write_files(results, variants, self.epochs, self.folder, worth, training)
        text = describe_findings(results, variants, self.notes, worth, training)
        return Findings(text, variants, worth, training)


class Request:
    """A request to a worker. An error of the disk is an answer too, which the caller raises."""

    def __call__(self, output: Output, _report: Callable[[Any], None]) -> Any:
        """Answer in the worker's process."""
        try:
            return self.answer(output)
        except OSError as error:
            return error

    def answer(self, output: Output) -> Any:
        """Do the work."""
        raise NotImplementedError


@dataclass(frozen=True)
class Fit(Request):
    """Fit the laws of one error of one variant; the answer is a pickled mapping of its curve."""

    name: str
    metric: str

    def answer(self, output: Output) -> bytes:
        """Fit all that is fitted on first use too."""
        from ..evaluation.tables import runs_table
        from ..findings.curves import curves, start_of

        part = output.results.variants()[self.name]
        fitted = curves(runs_table(part), part.chance, start_of(part), [self.metric])
        for curve in fitted.values():
            _ = curve.analysis.vague_posterior, curve.analysis.backtests
        return pickle.dumps({(self.name, metric): curve for metric, curve in fitted.items()})


@dataclass(frozen=True)
class Keep(Request):
    """Keep the laws that all processes have fitted; asked of each process once."""

    fitted: Sequence[bytes]  # answers to Fit: of processes of this command, never of a file

    def answer(self, output: Output) -> None:
        """Unpickle them."""
        curves = [item for part in self.fitted for item in pickle.loads(part).items()]
        output.fitted = dict(curves)


@dataclass(frozen=True)
class Write(Request):
    """Write all files but the figures; the answer are the findings."""

    def answer(self, output: Output) -> Findings:
        """Write them."""
        findings = output.write()
        if output.flags.report:
            return findings
        return replace(findings, variants=(), worth=None, training=None)  # to be unpickled soon


@dataclass(frozen=True)
class Draw(Request):
    """Draw one figure, if there are as many."""

    index: int

    def answer(self, output: Output) -> None:
        """Draw it."""
        draw(output.variants, output.folder / "figures", self.index)


class OutputProcesses:
    """Processes that import matplotlib while this one imports torch, and make the output then.

    Parameters
    ----------
    is_apart : bool
        Whether there are such processes. Without them, and if one dies, the output is made here.
    """

    def __init__(self, is_apart: bool) -> None:
        self.pool, self.is_apart = WorkerPool(None), is_apart
        if is_apart:
            start_server(*IMPORTS)

    def make(self, output: Output) -> Findings:
        """Fit the laws, write all files and draw the figures.

        Raises
        ------
        OSError
            If a file cannot be written.
        """
        if self.is_apart:
            try:
                return self._make_apart(output)
            except WorkerDiedError:
                self.pool.stop()
        findings = output.write()
        draw(findings.variants, output.folder / "figures")
        return findings

    def _make_apart(self, output: Output) -> Findings:
        from ..data.decoding import num_cores

        names = list(output.results.variants())
        fits = [Fit(name, metric) for name in names for metric in METRICS]
        num_processes = min(num_cores(), len(fits), MAX_PROCESSES)
        self.pool.context = output
        self.pool.start(num_processes, num_threads=1)
        fitted = self._ask(fits)
        self._ask([Keep(fitted) for _ in range(num_processes)])
        num_figures = 3 * len(names) + (2 if len(names) > 1 else 0)
        findings, *_ = self._ask([Write(), *(Draw(i) for i in range(num_figures))])
        assert isinstance(findings, Findings), "the answer to Write"
        return findings

    def _ask(self, requests: Sequence[Request]) -> list[Any]:
        answers = self.pool.answers(requests)
        for answer in answers:
            if isinstance(answer, OSError):
                raise answer
        return answers

    def stop(self) -> None:
        """End the processes; what they write is removed, unless it is whole."""
        self.pool.stop()


def draw(findings: Sequence[VariantFindings], folder: Path, index: int | None = None) -> None:
    """Save the figures of each variant, and one of all per error metric.

    Parameters
    ----------
    findings : sequence of VariantFindings
    folder : Path
        Where the PNG and PDF files go.
    index : int or None
        Of the only figure to draw, if there are as many; None: all.
    """
    from ..figures.files import save_printed
    from ..figures.scaling import study_figures

    figures = list(study_figures(findings).items())
    for path, plot in figures if index is None else figures[index : index + 1]:
        save_printed(plot(), folder / f"{path}.png")
