"""What metrics.json must hold, so that a damaged or foreign file is refused in one line."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCHEMA = 1
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Row(BaseModel):
    """Fields that are read back; others may stand beside them."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)


class _Scores(_Row):
    num_images: Count
    loss: float
    top_1_error: Share
    top_5_error: Share | None


class _Run(_Row):
    subset_size: float | int
    num_images: Count
    seed: Count
    best_epoch: Count
    status: str
    variant: str = ""
    model: str = ""
    splits: dict[str, _Scores]


class _Size(_Row):
    variant: str = ""
    num_images: Count
    num_runs: Count
    top_1_error: Share
    top_5_error: Share | None
    top_1_error_interval: Annotated[list[float], Field(min_length=2, max_length=2)]
    top_5_error_interval: Annotated[list[float], Field(min_length=2, max_length=2)] | None


class _Environment(_Row):
    date: str


class _Chance(_Row):
    top_1_error: Share
    top_5_error: Share


class _Results(_Row):
    schema_version: Literal[1]
    experiment_id: str
    num_classes: Annotated[int, Field(ge=2)]
    chance_error: _Chance = _Chance(top_1_error=1, top_5_error=1)  # older files lack it
    environment: _Environment
    runs: list[_Run]
    subset_sizes: dict[str, _Size]


def what_is_wrong(content: Any) -> str | None:
    """Say in one line what is no results file about some JSON, or None."""
    if isinstance(content, dict) and content.get("schema_version", SCHEMA) != SCHEMA:
        return f"schema_version is {content['schema_version']!r:.40}; this program reads {SCHEMA}"
    try:
        _Results.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        return f"not a results file: {where!r:.100}: {first['msg']}"
    for name, row in content["subset_sizes"].items():
        if (row["top_5_error"] is None) != (row["top_5_error_interval"] is None):
            return f"not a results file: subset_sizes {name!r:.100}: an interval without its error"
    return None
