"""The map in the docstring of the package names every folder and file, and nothing else."""

import ast
import re

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "dataworth"


def names_in_map():
    """Return the paths of the map, folders with a slash at the end."""
    docstring = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text()))
    names, folder = [], ""
    for line in docstring.split("::\n")[1].splitlines():
        match = re.fullmatch(r"    (    )?([\w.]+/?) +(\S.*)", line)
        if not match:
            assert not line.strip(), f"no name and description: {line!r}"
            continue
        indent, name, _ = match.groups()
        folder = folder if indent else name if name.endswith("/") else ""
        names.append(folder + name if indent else name)
    return names


def test_the_map_names_every_folder_and_file():
    files = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "__init__.py"
    }
    folders = {name.split("/")[0] + "/" for name in files if "/" in name}
    names = names_in_map()
    assert len(names) == len(set(names))
    assert sorted((files | folders) - set(names)) == [], "not in the map"
    assert sorted(set(names) - files - folders) == [], "in the map, but not in the package"
