"""The import rules: arrows point one way, the core is pure, the map of the package is right."""

import ast

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "dataworth"
LEVELS = [  # a module imports from its own room, or from the rooms listed before it
    "errors",
    "variants",
    "config",
    "console",
    "signals",
    "memory",
    "devices",
    "storage",
    "distributed",
    "scaling",
    "data",
    "models",
    "evaluation",
    "findings",
    "figures",
    "forecaster",
    "conformal",
    "training",
    "prediction",
    "launching",
    "tracking",
    "report",
    "explorer",
    "commands",
]
PURE = {
    "config",
    "conformal.scores",
    "data.augmentation",
    "data.splits",
    "data.subsets",
    "errors",
    "evaluation.calibration",
    "evaluation.intervals",
    "evaluation.leaks",
    "evaluation.metrics",
    "evaluation.per_class",
    "evaluation.added_records",
    "evaluation.records",
    "training.optimization",
    "variants",
    *(f"scaling.{path.stem}" for path in (PACKAGE / "scaling").glob("[a-z]*.py")),
}
NO_TORCH = {
    "commands", "config", "console", "errors", "evaluation.calibration", "evaluation.intervals",
    "evaluation.added_records", "evaluation.per_class", "evaluation.records", "evaluation.results",
    "evaluation.tables",
    "conformal.scores", "explorer.flags", "explorer.server", "figures", "findings", "forecaster",
    "scaling", "signals", "storage", "tracking",
    "distributed.process_group", "distributed.collectives", "variants",
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
    "openpyxl",
    "timm",
    "mlflow",
    "trackio",
    "wandb",
}
ISLAND = {
    "numpy", "scipy", "dataclasses", "collections", "functools", "itertools", "typing",
    "__future__",
}  # fmt: skip
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if not path.name.startswith("__")
}
TREES = {name: ast.parse(path.read_text()) for name, path in MODULES.items()}


def imports(nodes, name):
    """(own modules, foreign packages) imported anywhere below some statements."""
    own, foreign = set(), set()
    for node in (n for statement in nodes for n in ast.walk(statement)):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = name.split(".")[: -node.level]
            target = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            names = [f"{target}.{alias.name}".strip(".") for alias in node.names]
            own |= {n if n in MODULES else target for n in names}
        elif isinstance(node, ast.ImportFrom):
            foreign.add(node.module.split(".")[0])
        elif isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
    return own - {""}, foreign  # "": the package itself, for its version


def room(module):
    return module.split(".")[0]


def test_the_lists_above_name_only_what_exists():
    rooms = {room(name) for name in MODULES}
    assert set(LEVELS) == rooms
    assert MODULES.keys() >= PURE
    assert MODULES.keys() | rooms >= NO_TORCH
    imported = {name: imports(tree.body, name)[1] for name, tree in TREES.items()}
    assert set().union(*imported.values()) >= HEAVY
    assert set().union(*(imported[name] for name in imported if room(name) == "scaling")) == ISLAND


def test_imports_point_downwards():
    upwards = [
        f"{name} imports {target}"
        for name, tree in TREES.items()
        for target in imports(tree.body, name)[0]
        if LEVELS.index(room(target)) > LEVELS.index(room(name))
    ]
    assert upwards == []


def test_no_cycles():
    graph = {name: imports(tree.body, name)[0] & MODULES.keys() for name, tree in TREES.items()}
    while leaves := {name for name, targets in graph.items() if not targets & graph.keys()}:
        graph = {name: targets for name, targets in graph.items() if name not in leaves}
    assert graph == {}


def test_scaling_is_an_island():
    for name, tree in TREES.items():
        if room(name) == "scaling":
            own, foreign = imports(tree.body, name)
            assert {room(module) for module in own} <= {"scaling"}, name
            assert foreign <= ISLAND, name


def test_only_scripts_import_the_commands():
    importers = {n for n, tree in TREES.items() for m in imports(tree.body, n)[0]
                 if room(m) == "commands" and room(n) != "commands"}  # fmt: skip
    assert importers == set()


def test_heavy_packages_are_imported_where_they_are_needed():
    for name, tree in TREES.items():
        at_top = [s for s in tree.body if isinstance(s, ast.Import | ast.ImportFrom)]
        foreign = imports(at_top, name)[1]
        assert not foreign & HEAVY, name
        if name in NO_TORCH or room(name) in NO_TORCH:
            assert "torch" not in foreign, name


def test_core_has_no_side_effects():
    for name in PURE:
        calls = {n.func for n in ast.walk(TREES[name]) if isinstance(n, ast.Call)}
        names = {f.id for f in calls if isinstance(f, ast.Name)}
        methods = {f.attr for f in calls if isinstance(f, ast.Attribute)}
        assert not names & {"open", "print", "input", "exec", "eval"}, name
        assert not methods & {"read_text", "write_text", "now", "time", "manual_seed", "seed"}


def test_few_values_are_untyped_records():
    count = sum(path.read_text().count("dict[str, Any]") for path in MODULES.values())
    assert count <= 25, "write a record, or name the type"


def test_few_loose_modules_and_short_files_and_functions():
    assert len([path for path in PACKAGE.glob("*.py") if path.name != "__init__.py"]) <= 8
    for name, path in MODULES.items():
        assert len(path.read_text().splitlines()) <= 350, name
        for node in ast.walk(TREES[name]):
            if isinstance(node, ast.FunctionDef):
                documented = ast.get_docstring(node) or ""
                length = node.end_lineno - node.lineno - len(documented.splitlines())
                assert length <= 45, f"{name}.{node.name}"


def test_init_files_only_document():
    for path in PACKAGE.rglob("*/__init__.py"):
        assert len(ast.parse(path.read_text()).body) == 1, path


def public_functions(body, prefix=""):
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{prefix}{node.name}", node


def test_functions_of_three_parameters_document_them():
    undocumented = [
        f"{module}.{name}"
        for module, tree in TREES.items()
        for name, node in public_functions(tree.body)
        if len({a.arg for a in (*node.args.args, *node.args.kwonlyargs)} - {"self", "cls"}) >= 3
        and "Parameters\n---" not in (ast.get_docstring(node) or "")
    ]
    assert undocumented == []
