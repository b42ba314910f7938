"""Summarise and draw studies again from the stored scores of their runs, without checkpoints.

``python scripts/update_results.py results/ID`` judges the sizes against chance, averages the runs,
fits the laws and draws the figures with the present code. What ``eval.py`` measured stays.
"""

from __future__ import annotations

import sys
from pathlib import Path

from dataworth.commands.eval_output import write_files
from dataworth.commands.output_processes import draw
from dataworth.evaluation.results import FILE, read_results, summarised
from dataworth.findings.study import analyse_variants, read_epochs
from dataworth.findings.training import training_findings
from dataworth.findings.worth import worth_of_variants


def main() -> None:
    """Update the folders of results that the command line names."""
    for folder in map(Path, sys.argv[1:]):
        results, epochs = summarised(read_results(folder / FILE)), read_epochs(folder)
        findings = analyse_variants(results, epochs)
        training = training_findings({results.experiment_id: results})
        write_files(results, findings, epochs, folder, worth_of_variants(findings), training)
        draw(findings, folder / "figures")


if __name__ == "__main__":
    main()
