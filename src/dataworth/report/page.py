"""Everything that a study found, on one page that needs nothing else: report.html."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from ..config import Run
from ..data.prepare import PreparedData
from ..findings.study import Outcome
from ..storage.files import write_whole
from ..storage.run_directory import RunDirectory
from . import run_status
from .mistakes import galleries
from .sections import combined, section

HERE = Path(__file__).parent


def write_page(
    results: Mapping[str, Any],
    found: Sequence[Outcome],
    runs: Mapping[Run, RunDirectory],
    data: PreparedData,
    folder: Path,
    most: int,
) -> Path:
    """Write report.html.

    Parameters
    ----------
    results : mapping
        The content of metrics.json.
    found : sequence of Outcome
        Of each variant.
    runs : mapping
        Every planned run -> its directory.
    folder : Path
        Of the results; receives the page.
    most : int
        Pictures of mistakes per size.
    """
    entries = run_status.entries(runs, results)
    standing, lines = run_status.standing(entries, results["experiment_id"])
    sections = [
        section(one, f"s{i}", folder, galleries(one.results, data, folder, most) if most else [])
        for i, one in enumerate(found)
    ]
    page = render(
        {
            "experiment": results["experiment_id"],
            "question": question(results),
            "standing": standing,
            "lines": lines,
            "together": combined(found),
            "sections": sections,
            "ledger": run_status.ledger(entries),
            "settings": run_status.configuration(entries),
            "provenance": run_status.provenance(entries, results),
        }
    )
    path = folder / "report.html"
    write_whole(path, page.encode())
    return path


def question(results: Mapping[str, Any]) -> str:
    """Ask what the study answers."""
    data = PurePath(results["dataset"]).name
    return (
        f"How does the test error of {results['model']} on {data} ({results['num_classes']} "
        "classes) fall with the number of training images, and what would doubling them buy?"
    )


def render(content: Mapping[str, Any]) -> str:
    """Fill the template; whatever is not a drawing of ours is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((HERE / name).read_text() for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template("page.html")
    return template.render(**content, style=style, script=script, digest=digest)
