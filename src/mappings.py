"""Records as flat mappings of plain values, and back: what config files and messages need. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .config import InputError, Machine, Recipe, Record, Study
from .spelling import nearest, shortened


def records_from_mapping(values: Mapping[str, Any], where: str) -> tuple[Recipe, Study, Machine]:
    """Read the flat keys of a config file into the records that own them.

    Raises
    ------
    InputError
        If a key is unknown (the nearest one is offered) or a value has the wrong type.
    """
    owners = {name: owner for owner in (Recipe, Study, Machine) for name in owner.model_fields}
    for key in values:
        if key not in owners:
            raise InputError(f"{where}: unknown key {shortened(key)}{nearest(str(key), owners)}")
    try:
        own = {o: {k: v for k, v in values.items() if owners[k] is o} for o in owners.values()}
        return Recipe(**own[Recipe]), Study(**own[Study]), Machine(**own[Machine])
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def flat_mapping(*records: Record) -> dict[str, Any]:
    """Return the fields of several records as one mapping of plain values."""
    return {
        key: value for record in records for key, value in record.model_dump(mode="json").items()
    }


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Name each field of ``asked`` whose value ``there`` is another."""
    return [
        f"{key}: {there.get(key)!r} there, {value!r} asked"
        for key, value in asked.items()
        if there.get(key) != value
    ]
