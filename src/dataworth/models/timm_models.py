"""Classifiers of timm with fresh weights, ``timm:NAME``: input size and normalisation of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from ..config import Recipe
from ..data.normalisation import CHANNEL_STATS
from ..errors import InputError, did_you_mean, short_repr

PREFIX = "timm:"


def build_timm(name: str, num_classes: int, image_size: int) -> nn.Module:
    """Build a classifier of timm with fresh weights.

    Parameters
    ----------
    name : str
        With the prefix ``timm:``; a tag of pretrained weights selects their input size.
    num_classes : int
    image_size : int
        Pixels; only models for inputs of one size, such as transformers, depend on it.

    Raises
    ------
    InputError
        If timm is not installed, or has no such model.
    """
    import timm

    is_fixed = _pretrained_config(name).fixed_input_size
    options: dict[str, Any] = {"img_size": image_size} if is_fixed else {}
    model: nn.Module = timm.create_model(
        name.removeprefix(PREFIX), pretrained=False, num_classes=num_classes, **options
    )
    return model


def model_defaults(models: Sequence[str], given: set[str]) -> dict[str, str | int]:
    """Return image size and normalisation of the models of a study, as far as timm has them.

    Parameters
    ----------
    models : sequence of str
        Names; those without the prefix have the defaults of :class:`Recipe`.
    given : set of str
        Fields that the user has set.

    Raises
    ------
    InputError
        If the models differ in a field that is not given.
    """
    defaults = {}
    for field in ("image_size", "normalise"):
        values = {name: _default(name, field) for name in models}
        if field in given or not any(name.startswith(PREFIX) for name in models):
            continue
        if len(set(values.values())) > 1:
            flag = f"--{field.replace('_', '-')}"
            list_of_values = ", ".join(f"{value} ({name})" for name, value in values.items())
            raise InputError(f"{flag}: the models differ by default: {list_of_values}; give {flag}")
        defaults[field] = next(iter(values.values()))
    return defaults


def _default(name: str, field: str) -> str | int:
    if not name.startswith(PREFIX):
        value: str | int = Recipe.model_fields[field].default
        return value
    config = _pretrained_config(name)
    if field == "image_size":
        return int(max(config.input_size[1:]))  # channels, height, width
    stats = tuple(config.mean), tuple(config.std)
    return next((key for key, value in CHANNEL_STATS.items() if value == stats), "imagenet")


def _pretrained_config(name: str) -> Any:
    """Return timm's description of a model, which is the same for fresh weights."""
    try:
        import timm
    except ImportError:
        raise InputError(f"--model {name}: first pip install 'dataworth[timm]'") from None
    own = name.removeprefix(PREFIX)
    if own not in timm.list_models() and own not in timm.list_pretrained():
        hint = did_you_mean(name, [f"{PREFIX}{model}" for model in timm.list_models()])
        raise InputError(f"--model: timm has no model {short_repr(own)}{hint}")
    return timm.get_pretrained_cfg(own)
