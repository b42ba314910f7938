"""Checks of the flags of ``dataworth forecast``: which have no effect, which have no answer."""

from __future__ import annotations

from collections.abc import Collection

from ..config import Record
from ..console import printable_name, warn
from ..errors import InputError
from ..forecaster.runs import MAX_SIZE
from .flags import ForecastFlags
from .parsing import note_unused

MAX_FORECASTS = 100  # sizes of one --at: more are a table that nobody reads
SIMULATED = {"simulate", "seeds", "num_test", "expect", "chance"}  # used with --simulate
BY_CLASS = {"points", "variant", "by_class", "buy", "json_file"}  # used with --by-class alone


def check_forecast_flags(flags: ForecastFlags) -> None:
    """Note flags that are given and have no effect.

    Raises
    ------
    InputError
        If a value is one that no forecast has an answer for.
    """
    if flags.simulate:
        note_all_but(SIMULATED, flags, "with --simulate")
    elif flags.by_class and not flags.order:
        note_all_but(BY_CLASS, flags, "with --by-class without --order")
    else:
        bought = (flags.compare is not None or flags.order, "--compare or --order")
        least_cost = (flags.miss_cost is None, "the default of --miss-cost")
        needs = {
            **dict.fromkeys(("seeds", "num_test", "expect"), (False, "--simulate")),
            **dict.fromkeys(("price_image", "price_label"), bought),
            **dict.fromkeys(("rounds", "miss_cost", "miss_chance"), (flags.order, "--order")),
            **({"miss_chance": least_cost} if flags.order else {}),
            "price_hour": (False, "the trainings of a study: see eval.py"),
            "buy": (flags.by_class, "--by-class"),
        }
        note_unused(flags, needs)
    if flags.order and flags.target is None:
        raise InputError("--order: name the error to reach by --target")
    if not all(0 < n < MAX_SIZE for n in flags.at):
        raise InputError("--at: numbers of images must be above 0 and below 1e18")
    if len(flags.at) > MAX_FORECASTS:
        raise InputError(f"--at: {len(flags.at)} numbers of images; at most {MAX_FORECASTS}")


def note_all_but(used: Collection[str], record: Record, reason: str) -> None:
    """Print a note for each flag that is given, but whose field is not among those used.

    Parameters
    ----------
    used : collection of str
    record : Record
        Its values, and those of records in it, are compared with the defaults.
    reason : str
        Why the others have no effect, such as "with --simulate".
    """
    for field, info in type(record).model_fields.items():
        value = getattr(record, field)
        if isinstance(value, Record):
            note_all_but(used, value, reason)
        elif field not in used and value != info.default:
            names = [mark.name for mark in info.metadata if getattr(mark, "name", None)]
            flag = f"--{(names or [field])[0].replace('_', '-')}"
            is_file = field == "points"  # the only one that is named by its place
            warn(f"note: {printable_name(str(value)) if is_file else flag} has no effect {reason}")
