"""What measured points say of the law, as draws. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .laws import LAWS, Array


@dataclass(frozen=True)
class Curves:
    """Draws of one law."""

    law: str
    parameters: tuple[Array, ...]  # each of shape (draws, 1)

    def __len__(self) -> int:
        return len(self.parameters[0])

    def named(self, name: str) -> Array:
        """Values of one parameter, shape (draws,); NaN if the law has none of that name.

        A law without a floor has the floor 0.
        """
        names = LAWS[self.law].parameters
        if name in names:
            return self.parameters[names.index(name)][:, 0]
        return np.full(len(self), 0.0 if name == "floor" else np.nan)


@dataclass(frozen=True)
class Posterior:
    """What the points say: laws that could have made them, each draw equally probable."""

    curves: tuple[Curves, ...]
    anchor: float  # training images of the largest subset
    chance: float  # error of guessing
    drift: Array  # (draws,): wander of the slope, per doubling
    scatter: Array  # (draws,): of one run around the law, in log error
    relative_seed_variance: float  # between seeds at the largest size, of the log error
    noise: Array  # (draws, 2): standard normal; a draw's wander and its run's deviation

    def error(self, n: Array) -> Array:
        """Error of the law at each number of images, shape (draws, len(n))."""
        x = np.asarray(n, dtype=float) / self.anchor
        return np.concatenate(
            [LAWS[c.law].formula(x, self.chance, *c.parameters) for c in self.curves]
        )

    def expected(self, n: Array, law: Array | None = None) -> Array:
        """Mean error of many runs, law and drift, shape (draws, len(n)); ``law``: ``error(n)``."""
        law = self.error(n) if law is None else law
        doublings = np.maximum(np.log2(np.asarray(n, dtype=float) / self.anchor), 0)
        wander = self.drift[:, None] * np.sqrt(doublings**3 / 3) * self.noise[:, :1]
        return np.minimum(law * np.exp(wander), self.chance)

    def run(
        self, n: Array, num_test: float | None = None, seeds: float = 1, law: Array | None = None
    ) -> Array:
        """Mean error of new runs, measured on ``num_test`` images, shape (draws, len(n)).

        The runs differ in their ``seeds``, which average out; their test images are the same.
        ``law`` is ``error(n)``, where it is known already.
        """
        mean = self.expected(n, law)
        variance = self.scatter[:, None] ** 2 + self.relative_seed_variance / seeds
        if num_test:
            variance = variance + (1 - mean) / (np.maximum(mean, 1 / num_test) * num_test)
        return np.minimum(mean * np.exp(np.sqrt(variance) * self.noise[:, 1:]), self.chance)

    @property
    def exponent(self) -> Array:
        """Exponent of the power law that each draw approaches, shape (draws,); some have none."""
        return np.concatenate([curves.named("exponent") for curves in self.curves])

    @property
    def floor(self) -> Array:
        """Error that no number of images removes, shape (draws,)."""
        return np.concatenate([c.named("floor") * c.named("level") for c in self.curves])

    @property
    def shares(self) -> dict[str, float]:
        """Posterior probability of each law."""
        names = [curves.law for curves in self.curves]
        counts = [len(curves) for curves in self.curves]
        total = sum(counts)
        return {
            name: sum(c for n, c in zip(names, counts, strict=True) if n == name) / total
            for name in dict.fromkeys(names)
        }
