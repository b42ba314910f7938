"""The import rules of the project, checked: arrows point one way, and the core stays pure."""

import ast

import pytest

from tests.conftest import ROOT

LEVELS = [  # a module imports from its own line or from the lines above it
    {
        "alexnets",
        "config",
        "devices",
        "disk",
        "environment",
        "epochs",
        "exchanges",
        "exits",
        "files",
        "identity",
        "locks",
        "mappings",
        "processes",
        "scaling",
        "scheduling",
        "screen",
        "signals",
        "snapshots",
        "spelling",
        "variants",
    },
    {"data", "figures", "flags", "models", "runs", "studies"},
    {"evaluation", "progress", "status"},
    {"forecasts", "outcomes", "prediction", "training"},
    {"explorer", "launching", "report"},
    {"appendix", "launchers", "planning"},
    {"cli"},
    {"export"},
]
PURE = {
    "config",
    "mappings",
    "data.plans",
    "data.splits",
    "data.subsets",
    "evaluation.calibration",
    "evaluation.intervals",
    "evaluation.metrics",
    "evaluation.per_class",
    "prediction.conformal",
    *(f"scaling.{path.stem}" for path in (ROOT / "src" / "scaling").glob("[a-z]*.py")),
    "scheduling",
    "spelling",
    "training.optimization",
    "variants",
} - {"scaling.plots"}
NO_TORCH = {
    "cli", "config", "disk", "epochs", "evaluation.calibration", "evaluation.intervals",
    "evaluation.per_class", "evaluation.results", "exchanges", "exits", "explorer.flags",
    "explorer.server", "figures", "files", "flags", "forecasts", "identity", "locks",
    "mappings", "outcomes", "planning", "prediction.conformal", "prediction.flags",
    "processes", "runs", "scaling", "scheduling", "screen", "signals", "snapshots",
    "spelling", "status",
    "studies", "variants",
}  # fmt: skip
HEAVY = {
    "datasets",
    "torchvision",
    "sklearn",
    "ray",
    "submitit",
    "captum",
    "gradio",
    "jinja2",
}  # imported in functions
MODULES = sorted(p for p in (ROOT / "src").rglob("*.py") if p.name != "__init__.py")


def name_of(path):
    return ".".join(path.relative_to(ROOT / "src").with_suffix("").parts)


def imports(body, package):
    """(own modules, foreign packages) imported anywhere below some statements."""
    own, foreign = set(), set()
    for node in (n for statement in body for n in ast.walk(statement)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            own.add(".".join([*base, *(node.module or "").split(".")]).strip("."))
        elif isinstance(node, ast.ImportFrom):
            foreign.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
    return own, foreign


def parsed(path):
    return ast.parse(path.read_text()).body, name_of(path).split(".")[:-1]


def level(module):
    return next(i for i, names in enumerate(LEVELS) if module.split(".")[0] in names)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_downwards(path):
    own, _ = imports(*parsed(path))
    assert {m for m in own if level(m) > level(name_of(path))} == set()
    if name_of(path).startswith("scaling"):
        assert all(m.startswith("scaling") for m in own)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_packages_are_imported_where_they_are_needed(path):
    body, package = parsed(path)
    at_top = [s for s in body if isinstance(s, ast.Import | ast.ImportFrom)]
    foreign = imports(at_top, package)[1]
    assert not foreign & HEAVY
    if name_of(path) in NO_TORCH or name_of(path).split(".")[0] in NO_TORCH:
        assert "torch" not in foreign


@pytest.mark.parametrize("name", sorted(PURE))
def test_core_has_no_side_effects(name):
    body = ast.parse((ROOT / "src" / (name.replace(".", "/") + ".py")).read_text()).body
    calls = {n.func for s in body for n in ast.walk(s) if isinstance(n, ast.Call)}
    names = {f.id for f in calls if isinstance(f, ast.Name)}
    methods = {f.attr for f in calls if isinstance(f, ast.Attribute)}
    assert not names & {"open", "print", "input", "exec", "eval"}
    assert not methods & {"read_text", "write_text", "now", "time", "manual_seed", "seed"}


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("__init__.py")), ids=str)
def test_init_files_only_document(path):
    assert len(ast.parse(path.read_text()).body) == 1


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_files_and_functions_stay_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 220
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            documented = ast.get_docstring(node) or ""
            assert node.end_lineno - node.lineno - len(documented.splitlines()) <= 45, node.name
