"""Everything that parses, fed with what nobody would write: a right answer or one clean line."""

import copy
import json
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dataworth.commands.parsing import read_config, to_yaml
from dataworth.config import Machine, Recipe, Study
from dataworth.errors import InputError
from dataworth.evaluation.results import read_results
from dataworth.evaluation.tables import format_table, runs_table, sizes_table

CASES = 2000
many = settings(
    max_examples=CASES, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
SCALARS = [
    None, True, False, 0, 1, -1, 2, 3.5, 10**400, 1e308, -0.0, float("nan"), float("inf"), "",
    "0.5", "digits", "NaN", "\0", "../..", "1e999", "on", "adam", "ünï", "a\nb", "x" * 3000, [],
    {}, [[]],
]  # fmt: skip


def nested(rng, depth=3):
    """A scalar, or lists and dictionaries of them."""
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return rng.choice(SCALARS)
    inner = [nested(rng, depth - 1) for _ in range(rng.randrange(4))]
    return inner if kind < 0.75 else {str(rng.choice(SCALARS)): value for value in inner}


rng = random.Random(0)  # made once: drawing them costs most of the time
VALUES = SCALARS + [nested(rng) for _ in range(500)]
values = st.sampled_from(VALUES)
anything = st.binary(max_size=60)


def one_line(caught):
    assert "\n" not in str(caught)
    assert len(str(caught)) < 2000


def results():
    row = {"num_images": 360, "loss": 0.5, "top_1_error": 0.25, "top_5_error": 0.1}
    run = {"subset_size": 0.5, "seed": 1, "num_images": 600, "epochs": 3, "best_epoch": 2}
    size = {**row, "num_runs": 1, "top_1_error_interval": [0.2, 0.3]}
    return {
        "schema_version": 1,
        "experiment_id": "s",
        "num_classes": 10,
        "chance_error": {"top_1_error": 0.9, "top_5_error": 0.5},
        "environment": {"date": "2026-11-20"},
        "runs": [{**run, "status": "complete", "splits": {"test": row, "validation": row}}],
        "missing": {},
        "subset_sizes": {"0.5": {**size, "top_5_error_interval": [0.05, 0.2]}},
    }


def places(content, path=()):
    """Every path into nested lists and dictionaries."""
    inside = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


PLACES = list(places(results()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("parsed")


def read_back(path):
    try:
        found = read_results(path)
    except InputError as error:
        one_line(error)
        return
    assert len(runs_table(found)) == sum(len(run.splits) for run in found.runs)
    assert len(sizes_table(found)) == len(found.subset_sizes)
    assert format_table(found)
    assert set(found.chance) >= {"top_1_error", "top_5_error"}


def changed(place, value, remove):
    """A results file with one thing replaced or missing."""
    content = copy.deepcopy(results())
    *parents, last = place
    inner = content
    for key in parents:
        inner = inner[key]
    if remove:
        inner.pop(last)
    else:
        inner[last] = value
    return json.dumps(content).encode(errors="replace")


@pytest.mark.fault(49)
@many
@given(st.builds(changed, st.sampled_from(PLACES), values, st.booleans()) | anything)
@example(b"[" * 100_000)
@example(b"9" * 5000)
@example(b"{}")
def test_metrics_json_is_read_or_refused_in_one_line(folder, content):
    (folder / "metrics.json").write_bytes(content)
    read_back(folder / "metrics.json")


FIELDS = [name for record in (Recipe, Study, Machine) for name in record.model_fields]
NINE = ",".join("x" * 9)
BOMB = f"{FIELDS[0]}: &a0 [{NINE}]\n" + "".join(
    f"{name}: &a{i + 1} [{','.join([f'*a{i}'] * 9)}]\n" for i, name in enumerate(FIELDS[1:12])
)  # a few hundred bytes that spell out to 9 ** 12 items
TOKENS = ["epochs", ": ", "[", "]", "{", "- ", "\n", "&a ", "*a", "!!", "2001-13-45", "\t", "'"]


def config_of(path):
    try:
        records = read_config(path)
    except InputError as error:
        one_line(error)
        return
    path.write_text(to_yaml(*records))
    assert read_config(path) == records  # a right answer means the same again


keys = st.sampled_from([*FIELDS, "", "epoch", "a\nb", "x" * 3000])


@pytest.mark.fault(49)
@many
@given(
    st.dictionaries(keys, values, max_size=3).map(yaml.safe_dump)
    | st.lists(st.sampled_from(TOKENS)).map("".join)
    | anything.map(lambda content: content.decode("latin-1"))
)
@example("epochs: 2001-13-45")
@example("[" * 5000)
@example(BOMB)
@example("- &a [x, *a]\n")
@example("".join(f"- {line.split(': ')[1]}\n" for line in BOMB.splitlines()))
@example('cache_dir: "a\\0b"')
@example("!!python/object/apply:os.system ['touch PWNED']")
def test_config_yaml_is_read_or_refused_in_one_line(folder, content):
    (folder / "c.yaml").write_text(content, encoding="utf-8", errors="replace")
    config_of(folder / "c.yaml")
    assert not Path("PWNED").exists()
