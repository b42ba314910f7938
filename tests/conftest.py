"""One small study of the embedded digits, trained and evaluated once by the real commands."""

import hashlib
import os
import pickle
import shutil
from contextlib import contextmanager, suppress
from dataclasses import astuple
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # each worker of pytest-xdist, and what it starts, has a core

from hypothesis import settings

from dataworth.commands import eval as eval_command
from dataworth.commands import train as train_command
from dataworth.figures import files
from dataworth.scaling import analysis, forecasting, worth
from dataworth.scaling.fitting import fit
from dataworth.storage.files import write_whole

settings.register_profile("steady", deadline=None, max_examples=50)  # a busy machine is no failure
settings.load_profile("steady")

CHROMIUM = "/usr/bin/chromium"
ROOT = Path(__file__).parent.parent
PATHS = f"{ROOT / 'src'}{os.pathsep}{ROOT}"  # PYTHONPATH of processes that tests start
DIGITS = ["--dataset", "digits", "--model", "alexnet-small", "--image-size", "32"]
DIGITS += ["--augment", "crop"]  # a mirrored digit is no digit
QUICK = [*DIGITS, "--epochs", "3", "--batch-size", "64", "--learning-rate", "0.02"]
STUDY = [*QUICK, "--subset-sizes", "1.0", "0.25", "0.5", "--seeds", "1", "2"]


# The tests of these modules share what a fixture makes in a worker: they stay together.
GROUPS = {
    "test_explorer": "explorer",
    "test_notebooks": "notebooks",
    "test_processes": "processes",
    "test_report": "notebooks",
    "test_space": "space",
    "test_variants": "variants",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out the tests of a group to one worker of ``-n``, the others one by one."""
    from xdist.scheduler import LoadScopeScheduling

    class GroupScheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return GROUPS.get(Path(nodeid.split("::")[0]).stem, nodeid)

    return GroupScheduling(config, log)


@contextmanager
def inside(folder):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield folder
    finally:
        os.chdir(before)


def command(function, *words):
    """Run a command in this process; return its exit code."""
    with pytest.raises(SystemExit) as stop:
        function([str(word) for word in words])
    return stop.value.code


def train(*words):
    return command(train_command.train, *words)


def evaluate(*words):
    return command(eval_command.evaluate, *words)


@pytest.fixture(autouse=True, scope="session")
def without_pdf():
    """Save no PDF beside each PNG, which takes longest; the shared study and notebooks do."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "SCREEN_AND_PRINT", (".png",))
        yield


def shared_folder(tmp_path_factory):
    """Return the temporary folder of all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(autouse=True, scope="session")
def digits_decoded_once(tmp_path_factory):
    """Copy the cache of the digits to each new place: decoding takes longer than training a run."""
    if find_spec("torch") is None:  # an environment of the forecaster alone
        yield
        return
    from dataworth.data import prepare

    kept, build = shared_folder(tmp_path_factory) / "decoded", prepare.build_cache

    def copy_or_build(folder, dataset, *settings):
        whole, own = kept / folder.name, kept / f"{folder.name}.{os.getpid()}"
        is_new = dataset.name == "digits" and not folder.exists()
        if is_new and whole.exists() and not folder.parent.is_file():
            shutil.copytree(whole, folder)
        build(folder, dataset, *settings)
        if is_new and not whole.exists():
            shutil.copytree(folder, own)
            with suppress(OSError):  # another worker was faster
                own.rename(whole)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prepare, "build_cache", copy_or_build)
        yield


@pytest.fixture(autouse=True, scope="session")
def without_syncs():
    """Do not wait for the disk: no test can take the power away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True, scope="session")
def laws_fitted_once(tmp_path_factory):
    """Fit the laws to the same points once for all workers: many tests read the same studies."""
    folder = shared_folder(tmp_path_factory) / "posteriors"
    folder.mkdir(exist_ok=True)

    def fit_once(points, chance, prior=None, start="unknown"):
        key = pickle.dumps(astuple(points)) + repr((chance, prior, start)).encode()
        path = folder / hashlib.sha256(key).hexdigest()
        if not path.exists():
            write_whole(path, pickle.dumps(fit(points, chance, prior, start)))
        return pickle.loads(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch:
        for module in (analysis, forecasting, worth):
            patch.setattr(module, "fit", fit_once)
        yield


@pytest.fixture
def workplace(tmp_path, monkeypatch):
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def built_once(tmp_path_factory, name, build):
    """Return a folder that ``build`` fills, once for all workers of pytest-xdist."""
    base = shared_folder(tmp_path_factory)
    folder, done = base / name, base / f"{name}.done"
    with FileLock(base / f"{name}.lock"):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            with inside(folder):
                build()
            done.touch()
    return folder


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """The folder of a finished and evaluated study named ``s``: not to be written to."""

    def build():
        assert train(*STUDY, "--experiment-id", "s") == 0
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(files, "SCREEN_AND_PRINT", (".png", ".pdf"))
            assert evaluate() == 0

    return built_once(tmp_path_factory, "study", build)


@pytest.fixture(scope="session")
def extended(study, tmp_path_factory):
    """A copy of the study after ``eval.py --full --conformal``: not to be written to."""

    def build():
        shutil.copytree(study, ".", dirs_exist_ok=True)
        assert evaluate("--full", "--conformal", "--alpha", 0.1, 0.2) == 0

    return built_once(tmp_path_factory, "extended", build)


@pytest.fixture(scope="session")
def execute_notebook():
    """A function that runs a notebook in a folder and returns its output as text.

    One kernel serves all notebooks; its variables are deleted before each.
    """
    import nbformat
    from nbclient import NotebookClient

    def execute(name, folder):
        notebook = nbformat.read(ROOT / name, as_version=4)
        start = nbformat.v4.new_code_cell(f"%reset -f\n%cd -q {folder}")
        notebook.cells.insert(0, start)
        client.nb = notebook
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        return "\n".join(part.get("text", "") or str(part.get("data", "")) for part in outputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        client = NotebookClient(nbformat.v4.new_notebook(), timeout=120)
        with client.setup_kernel():
            yield execute


@pytest.fixture(scope="module")
def browser():
    """Chromium, without a window."""
    from playwright import sync_api

    with sync_api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()
