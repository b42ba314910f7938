"""Flags that settle what a file of measurements leaves open."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import tyro
from pydantic import Field, field_validator

from ..config import Record


class ReadFlags(Record):
    """What a file of measurements leaves open."""

    x_column: str | None = Field(
        None, description="column of training set sizes in the file (default: by its name)"
    )
    y_column: tuple[str, ...] = Field(
        (), description="column of errors or accuracies; several: one per seed (default: by name)"
    )
    values: Annotated[
        tuple[Literal["error", "accuracy", "share", "percent"], ...], tyro.conf.arg(name="as")
    ] = Field((), description="what that column holds (default: by its name and all its values)")
    decimal: Literal["point", "comma"] | None = Field(
        None, description="decimal mark of the numbers in the file (default: by all of them)"
    )
    sheet: str | None = Field(None, description="sheet of an .xlsx file, if several hold errors")
    where: tuple[str, ...] = Field(
        (), description="COLUMN=VALUE: read only the rows of the file that have this value"
    )

    @field_validator("y_column", "values", "where", mode="before")
    @classmethod
    def _tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value
