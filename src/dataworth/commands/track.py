"""``dataworth track``: replay an evaluated study into an experiment tracker."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from ..console import say
from ..errors import InputError
from .exit_codes import DONE, run_command
from .flags import TrackFlags
from .parsing import parse


def track(words: Sequence[str] | None = None) -> None:
    """Replay the epochs, scores and figures of a study into a tracker."""
    run_command(lambda: _track(words), "the same command goes on")


def _track(words: Sequence[str] | None) -> int:
    flags = parse(TrackFlags, words, TrackFlags())
    from ..tracking.registry import TRACKERS
    from ..tracking.replay import read_study

    if flags.results is None or flags.to is None:
        raise InputError("name a folder and a tracker: dataworth track results/ID --to mlflow")
    study = read_study(flags.results)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecations within the packages
        replay = TRACKERS[flags.to](study, flags.project, flags.offline)
    counts = f"{replay.num_written} runs written, {replay.num_kept} there already"
    say(f"{flags.to:<12} {counts}: {replay.location}")
    return DONE
