"""The notebooks run from top to bottom, with a study and without one."""

import shutil

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError

from tests.conftest import ROOT

NOTEBOOKS = ["eda.ipynb", "results.ipynb"]


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of the kernel client
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_on_a_study(study, workplace, execute_notebook, name):
    shutil.copytree(study, workplace, dirs_exist_ok=True)
    text = execute_notebook(name, workplace)
    if name == "results.ipynb":
        assert "From 323 to 1,293 training images" in text
        figures = workplace / "results" / "s" / "figures"
        assert len(list(figures.glob("plot_*.png"))) == len(list(figures.glob("plot_*.pdf"))) == 6
    else:
        assert "1293" in text
        assert "image/png" in text


@pytest.mark.filterwarnings("default")
def test_results_notebook_without_results_says_what_to_run(workplace, execute_notebook):
    with pytest.raises(CellExecutionError, match="run `make study`"):
        execute_notebook("results.ipynb", workplace)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_eda_notebook_before_any_study_shows_the_digits(workplace, execute_notebook):
    assert "digits: 10 classes" in execute_notebook("eda.ipynb", workplace)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_notebook_of_the_library_runs(workplace, execute_notebook):
    assert "measured: 3.7 %" in execute_notebook("docs/learning_curve.ipynb", workplace)


@pytest.mark.parametrize("name", [*NOTEBOOKS, "docs/learning_curve.ipynb"])
def test_committed_notebook_is_short_executed_and_without_errors(name):
    notebook = nbformat.read(ROOT / name, as_version=4)
    assert len(notebook.cells) <= 12
    for cell in notebook.cells:
        assert len(cell.source.splitlines()) <= 10
        if cell.cell_type == "code":
            assert cell.execution_count
            for output in cell.outputs:
                assert output.output_type != "error"
                assert len(output.get("data", {}).get("image/png", "")) < 270_000  # base64
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
