"""LearningCurve: a scikit-learn style estimator of error against training set size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike

from ..scaling.analysis import analyse
from ..scaling.laws import Array
from ..scaling.points import NotIdentifiableError, Points
from ..scaling.starts import Start
from .fitted_curve import FittedCurve, to_numbers

TO_ERROR = {"error": (0.0, 1.0), "accuracy": (1.0, -1.0), "neg_error": (0.0, -1.0)}  # a + b score


class LearningCurve(FittedCurve):
    """Scaling law of a test error, fitted to measured errors at several training set sizes.

    Parameters
    ----------
    chance : float, default=None
        Chance level: the error of guessing, a share in (0, 1]. With 10 balanced classes, 0.9; of
        1 - AUROC, 0.5. None: unknown, which is as 1. ``numpy.inf``: the error has no upper bound
        and any unit above 0, as a cross-entropy or an RMSE.
    num_test : float or array-like of shape (runs,), default=None
        Test images behind each measured error. If given, test sampling noise is part of the fit
        and of the intervals, and measured errors may be 0. Only for shares of wrong answers.
    start : {"unknown", "scratch", "pretrained", "tabular"}, default="unknown"
        What the classifier starts from, which decides how much weight each law has before any
        point is seen: fresh weights, trained for equal epochs at every size; features of a
        network trained on other data; or no network but a table of measurements. Leave it unknown
        where the optimiser steps are equal. Without effect with an infinite ``chance``.

    Attributes
    ----------
    notes_ : tuple of str
        How :meth:`from_csv` read its file.
    exponent_, floor_, laws_, backtest_, analysis_, ...
        See :class:`FittedCurve`.

    Examples
    --------
    >>> curve = LearningCurve(chance=0.9, num_test=5000)
    >>> curve.fit([1000, 2000, 4000, 8000], [0.42, 0.35, 0.29, 0.24])
    LearningCurve(chance=0.9, num_test=5000)
    >>> curve.predict([16000]).shape
    (1,)
    """

    notes_: tuple[str, ...] = ()

    def __init__(
        self,
        chance: float | None = None,
        num_test: ArrayLike | None = None,
        start: Start = "unknown",
    ) -> None:
        self.chance = chance
        self.num_test = num_test
        self.start = start

    def __repr__(self) -> str:
        start = "" if self.start == "unknown" else f", start={self.start!r}"
        return f"LearningCurve(chance={self.chance!r}, num_test={self.num_test!r}{start})"

    @classmethod
    def from_sklearn(
        cls,
        train_sizes: ArrayLike,
        test_scores: ArrayLike,
        values: Literal["accuracy", "error", "neg_error"],
        **parameters: Any,
    ) -> Self:
        """Fit the output of ``sklearn.model_selection.learning_curve``; each fold is a run.

        The folds have test examples of their own, so that their sampling noise is in the variation
        between runs: leave ``num_test`` out, unless a score is 1.

        Parameters
        ----------
        train_sizes : array-like of shape (sizes,)
            Training examples, above 0.
        test_scores : array-like of shape (sizes, folds) or (sizes,)
            Scores on held-out examples.
        values : {"accuracy", "error", "neg_error"}
            What a score is: "accuracy" also for other shares that rise, such as ``"roc_auc"`` (the
            error is 1 - score); "neg_error" for scorers such as ``"neg_log_loss"`` (- score).
        **parameters
            Of :class:`LearningCurve`, such as ``chance``.

        Returns
        -------
        LearningCurve
            Fitted.

        Raises
        ------
        ValueError
            If the shapes differ, ``values`` is none of these words, or as :meth:`fit`.
        NotIdentifiableError
            As :meth:`fit`.
        """
        if values not in TO_ERROR:
            raise ValueError(f"values must be one of {', '.join(TO_ERROR)}, got {values!r}")
        n, scores = to_numbers("train_sizes", train_sizes), to_numbers("test_scores", test_scores)
        if n.ndim != 1 or scores.ndim not in (1, 2) or len(scores) != len(n):
            raise ValueError(
                f"test_scores must be of shape (sizes, folds) with a row for each of train_sizes, "
                f"got shapes {n.shape} and {scores.shape}"
            )
        offset, sign = TO_ERROR[values]
        folds = scores.reshape(len(n), -1).shape[1]
        return cls(**parameters).fit(np.repeat(n, folds), offset + sign * scores.ravel())

    @classmethod
    def from_csv(
        cls,
        path: str | Path,
        chance: float | None = None,
        num_test: ArrayLike | None = None,
        start: Start = "unknown",
        **columns: str | Sequence[str],
    ) -> Self:
        """Read measured errors from a file and fit them; ``notes_`` says how it was read.

        Parameters
        ----------
        path : str or Path
            CSV (also with tabs, semicolons, decimal commas), .json, .jsonl or .xlsx, with a column
            of training set sizes and one of errors, or one per seed.
        chance : float, default=None
            As of the class. With ``numpy.inf`` the column of errors is taken as it is.
        num_test : float or array-like of shape (runs,), default=None
            As of the class; None: the column of the file, if there is one.
        start : {"unknown", "scratch", "pretrained", "tabular"}, default="unknown"
            As of the class.
        **columns
            Fields of ``ReadFlags``, which settle what the file leaves open: ``x_column``,
            ``y_column``, ``values`` such as "accuracy" or "percent", ``decimal``, ``where``.

        Returns
        -------
        LearningCurve
            Fitted.

        Raises
        ------
        InputError
            If the file cannot be read, or in more than one way; the message has the remedy.
        ValueError, NotIdentifiableError
            As :meth:`fit`.
        """
        from .flags import ReadFlags
        from .measurements import read_measurements

        measured = read_measurements(Path(path), ReadFlags(**columns), unbounded=chance == np.inf)
        points = measured.points
        if num_test is None and points.num_test is not None:
            first, is_same = points.num_test[0], len(np.unique(points.num_test)) == 1
            num_test = float(first) if is_same else points.num_test
        curve = cls(chance, num_test, start)
        curve.notes_ = measured.notes
        return curve.fit(points.n, points.error)

    def fit(self, n: ArrayLike, error: ArrayLike) -> Self:
        """Fit the scaling laws.

        Parameters
        ----------
        n : array-like of shape (runs,)
            Training images of each run, above 0; three or more distinct numbers.
        error : array-like of shape (runs,)
            Test error of each run, a share in [0, 1]; above 0 with an infinite ``chance``.

        Returns
        -------
        self : LearningCurve

        Raises
        ------
        ValueError
            If the arrays have different shapes or values outside their range, or a parameter is
            outside its range.
        NotIdentifiableError
            If there are fewer than three sizes, no error is clearly below the chance level, the
            error does not fall, or an error is 0 and ``num_test`` is None.
        """
        self.__dict__.pop("analysis_", None)  # of an earlier fit, which this one replaces
        n, error = to_numbers("n", n), to_numbers("error", error)
        if n.ndim != 1 or n.shape != error.shape:
            raise ValueError(
                f"n and error must be one-dimensional and of one length, got shapes {n.shape} "
                f"and {error.shape}"
            )
        if self.start not in get_args(Start):
            raise ValueError(
                f"start must be one of {', '.join(get_args(Start))}, got {self.start!r}"
            )
        chance = self._check_chance(error)
        num_test = self._check_num_test(len(n), chance)
        points = Points(n, error, num_test, unbounded=chance == np.inf)
        self.analysis_ = analyse(points, chance, self.start)
        if self.analysis_.posterior is None:
            raise NotIdentifiableError(self.analysis_.reason)
        return self

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters by name; ``deep`` has no effect and is there for scikit-learn."""
        return {"chance": self.chance, "num_test": self.num_test, "start": self.start}

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters by name; call :meth:`fit` again for them to take effect.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        for name, value in parameters.items():
            if name not in self.get_params():
                raise ValueError(f"LearningCurve has no parameter {name!r}")
            setattr(self, name, value)
        return self

    def _check_chance(self, error: Array) -> float:
        """Return the chance level; refuse one that the errors contradict."""
        chance = 1.0 if self.chance is None else float(self.chance)
        if chance == np.inf:
            if not (np.isfinite(error) & (error > 0)).all():
                raise ValueError("with an infinite chance level every error must be above 0")
            return chance
        if not 0 < chance <= 1:
            raise ValueError(
                f"chance must be a share above 0 and up to 1, or infinite, got {self.chance!r}"
            )
        if not ((error >= 0) & (error <= 1)).all():
            raise ValueError(
                "every error must be a share between 0 and 1; give chance=numpy.inf for an error "
                "without an upper bound"
            )
        return chance

    def _check_num_test(self, num_runs: int, chance: float) -> Array | None:
        if self.num_test is None:
            return None
        num_test = to_numbers("num_test", self.num_test)
        if not ((num_test > 0) & (num_test < np.inf)).all():
            raise ValueError(f"num_test must be a number above 0, got {self.num_test!r}")
        if num_test.shape not in ((), (num_runs,)):
            raise ValueError(f"num_test must be one number or {num_runs}, one for each error")
        if chance == np.inf:
            raise ValueError("num_test is for shares of wrong answers: leave it out")
        return np.broadcast_to(num_test, num_runs).copy()
