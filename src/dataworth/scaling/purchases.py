"""Purchase planning: how many images to order now, if a missed target has a cost. Pure.

The decision is made on the draws of the posterior by dynamic programming over the number of images
and the rounds that are left. Each round: order images, train, measure, decide again. The cost is
that of the images bought in all rounds, plus the cost of missing the target if it is not reached
after the last one.

The state between rounds is what the posterior would then be. For the round at hand it is simulated:
each of some draws gives the error that would be measured after the order, and that weighs all
draws again. For the rounds after it only "not yet reached" is learned, so that the cost of
waiting is overestimated there (an open-loop feedback policy: Bertsekas, *Dynamic Programming and
Optimal Control*, section 6.2). In practice every round is planned again from its measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .forecasting import MAX_FACTOR
from .laws import Array
from .posterior import Posterior

STEPS_PER_DOUBLING = 8  # of the numbers of images that can be ordered
NUM_DRAWS = 2000  # of the posterior, evenly spaced, that decide
NUM_OUTCOMES = 48  # simulated measurements after an order
NUM_RUN_OUTCOMES = 200  # simulated measurements of a further run
MISS_COSTS = (1e-3, 1e6)  # searched for a chance of missing: times the cost of the largest size
MAX_RAISES = 8  # of the cost of missing, by half
LEAST_GAIN = 0.005  # of probability, that is still paid for where the accepted one is out of reach


@dataclass(frozen=True)
class Purchase:
    """The order to make now, and what to expect of it and of the rounds after it."""

    target: float  # error, a share
    rounds: int  # that are left, this one included
    order: float  # images to buy now; 0: stop, or the target is reached
    chance_now: float  # that the target is reached after this order
    chance: float  # that it is reached in the end, if later orders follow the plan
    expected_cost: float  # of all images, and of missing
    expected_images: float  # bought in all rounds
    miss_cost: float  # cost of stopping now


def plan_purchase(
    posterior: Posterior,
    target: float,
    rounds: int,
    price: float = 1.0,
    miss_cost: float | None = None,
    miss_chance: float = 0.1,
    num_test: float | None = None,
) -> Purchase:
    """Plan how many images to order now.

    The images at hand are those of the largest measured size. The target may be reached there, as
    the measured error is noisy: probabilities are those of the posterior.

    Parameters
    ----------
    posterior : Posterior
    target : float
        Error to reach, a share: the expected error of new runs.
    rounds : int
        Orders that can still be made, this one included; 1 or more.
    price : float
        Of one image.
    miss_cost : float, optional
        Cost of not reaching the target, in the unit of ``price``. Without it, the least cost is
        taken at which the plan misses with a probability of at most ``miss_chance``.
    miss_chance : float
        See ``miss_cost``. If no order reaches it, the order that misses least is planned.
    num_test : float, optional
        Test images of the measurements, if known: their noise limits what a round teaches.
    """
    problem = _Problem.build(posterior, target, price, num_test)
    if miss_cost is None:
        miss_cost = problem.miss_cost_for(miss_chance, rounds)
    order, (cost, missed) = problem.best(rounds, miss_cost)
    return Purchase(
        target=target,
        rounds=rounds,
        order=float(np.ceil(problem.bought[order])),
        chance_now=float(1 - problem.survival[order]),
        chance=1 - missed,
        expected_cost=cost,
        expected_images=(cost - miss_cost * missed) / price,
        miss_cost=miss_cost,
    )


def savings_by_runs(
    posterior: Posterior,
    plan: Purchase,
    price: float,
    num_test: float | None,
    variances: Sequence[tuple[float, Array]],
) -> list[float]:
    """Estimate how much lower the expected cost would be after one more run of images at hand.

    After each simulated error of the run the orders are planned again; plans with and without it
    learn nothing else than whether the target is reached.

    Parameters
    ----------
    posterior : Posterior
    plan : Purchase
        What is planned without the run.
    price : float
        Of one image.
    num_test : float or None
        Test images of the measurements, if known.
    variances : sequence of (float, ndarray of shape (draws,))
        Training images of each candidate, and the variance of its log error in each draw.

    Returns
    -------
    list of float
        In the unit of ``price``, 0 or more.
    """
    problem = _Problem.build(posterior, plan.target, price, num_test)
    if not len(problem.reached):
        return [0.0] * len(variances)
    error = posterior.expected_error(np.array([n for n, _ in variances]))[problem.draws]
    return [
        problem.saving(np.log(np.maximum(column, 1e-12)), variance[problem.draws], plan)
        for column, (_, variance) in zip(error.T, variances, strict=True)
    ]


@dataclass(frozen=True)
class _Problem:
    """A grid of numbers of images, and when each draw reaches the target on it."""

    bought: Array  # (grid,): images beyond those at hand; the first is 0
    price: float
    reached: NDArray[np.intp]  # (draws,): index of the grid; its length: never. Sorted
    log_error: Array  # (draws, grid): expected log errors
    noise: Array  # (draws, grid): standard deviation of a measured log error
    draws: NDArray[np.intp]  # (draws,): which of the posterior they are

    @classmethod
    def build(
        cls, posterior: Posterior, target: float, price: float, num_test: float | None
    ) -> _Problem:
        steps = np.arange(int(np.log2(MAX_FACTOR)) * STEPS_PER_DOUBLING + 1)
        n = posterior.largest_size * 2.0 ** (steps / STEPS_PER_DOUBLING)
        step = max(1, len(posterior.drift) // NUM_DRAWS)
        chosen = np.arange(0, len(posterior.drift), step)
        error = np.maximum(posterior.expected_error(n)[chosen], 1e-12)
        below = error <= target
        reached = np.where(below.any(axis=1), below.argmax(axis=1), len(n))
        order = np.argsort(reached, kind="stable")
        variance = posterior.scatter[chosen][:, None] ** 2 + posterior.relative_seed_variance
        if num_test:
            variance = variance + (1 - error) / (error * num_test)
        noise = np.sqrt(np.broadcast_to(variance, error.shape)) + 1e-6
        logs = np.log(error)[order]
        return cls(n - n[0], price, reached[order], logs, noise[order], chosen[order])

    @cached_property
    def survival(self) -> Array:
        """Probability that the target is not reached at each number of images, shape (grid,)."""
        if not len(self.reached):
            return np.zeros(len(self.bought))
        alive: Array = self._survival(np.full((1, len(self.reached)), 1 / len(self.reached)))[0]
        return alive

    def _survival(self, weights: Array) -> Array:
        """Sum weights (outcomes, draws) of the draws not yet there, (outcomes, grid)."""
        total = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]  # from each draw on
        total = np.concatenate([total, np.zeros((len(weights), 1))], axis=1)
        first = np.searchsorted(self.reached, np.arange(len(self.bought)), side="right")
        survival: Array = total[:, first].clip(0, 1)
        return survival

    def _solve(
        self, survival: Array, rounds: int, miss_cost: float, start: int
    ) -> tuple[Array, Array]:
        """Solve the rounds with what is known now.

        Returns
        -------
        cost, missed : ndarray of shape (outcomes, grid - start)
            Expected cost, and probability of missing, from each number of images on; both times
            the probability that the target is not reached there.
        """
        bought, survival = self.price * self.bought[start:], survival[:, start:]
        extra = bought - bought[:, None]  # (from, to)
        extra[np.tril_indices(len(bought))] = np.inf
        cost, missed = miss_cost * survival, survival
        for _ in range(rounds):
            total = extra * np.maximum(survival, 1e-300)[..., None] + cost[:, None, :]
            best = total.argmin(axis=2)
            buying = np.take_along_axis(total, best[..., None], 2)[..., 0]
            stops = miss_cost * survival <= buying
            cost = np.where(stops, miss_cost * survival, buying)
            missed = np.where(stops, survival, np.take_along_axis(missed, best, 1))
        return cost, missed

    def best(self, rounds: int, miss_cost: float) -> tuple[int, tuple[float, float]]:
        """Return the order of least cost, as an index, with its :meth:`outcome`."""
        best = 0, self.outcome(0, rounds, miss_cost)
        for order in range(1, len(self.bought)):
            least = best[1][0] * (1 + 1e-9)  # of equals the larger order: fewer rounds
            if self.price * self.bought[order] > least:
                break
            if (outcome := self.outcome(order, rounds, miss_cost))[0] <= least:
                best = order, outcome
        return best

    def outcome(self, order: int, rounds: int, miss_cost: float) -> tuple[float, float]:
        """Return expected cost and probability of missing if the next order leads to an index."""
        alive = float(self.survival[order])
        if order == 0:
            return miss_cost * alive, alive
        spent = self.price * float(self.bought[order])
        if rounds == 1 or alive == 0:
            return spent + alive * miss_cost, alive
        survival = self._survival(self._weights_after(order))
        cost, missed = self._solve(survival, rounds - 1, miss_cost, order)
        return spent + alive * float(cost[:, 0].mean()), alive * float(missed[:, 0].mean())

    def _weights_after(self, order: int) -> Array:
        """Weights of the draws after simulated measurements that miss, (outcomes, draws)."""
        first = int(np.searchsorted(self.reached, order, side="right"))
        draws = np.unique(np.linspace(first, len(self.reached) - 1, NUM_OUTCOMES).astype(int))
        measured = self.log_error[draws, order]
        expected, noise = self.log_error[first:, order], self.noise[first:, order]
        logs = -(((measured[:, None] - expected) / noise) ** 2) / 2 - np.log(noise)
        weights = np.zeros((len(draws), len(self.reached)))
        weights[:, first:] = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(weights / weights.sum(axis=1, keepdims=True))

    def saving(self, predicted: Array, variance: Array, plan: Purchase) -> float:
        """Return how much a measured log error lowers the expected cost of the plan.

        ``predicted`` and ``variance`` (draws,) are its mean and variance in each draw.
        """
        rng = np.random.default_rng(0)
        draws = np.linspace(0, len(predicted) - 1, NUM_RUN_OUTCOMES).astype(int)
        noise = np.sqrt(variance[draws]) * rng.standard_normal(NUM_RUN_OUTCOMES)
        logs = -(((predicted[draws] + noise)[:, None] - predicted) ** 2) / (2 * variance)
        logs -= np.log(variance) / 2
        weights = np.exp(logs - logs.max(axis=1, keepdims=True))
        survival = self._survival(weights / weights.sum(axis=1, keepdims=True))
        after = self._solve(survival, plan.rounds, plan.miss_cost, 0)[0][:, 0].mean()
        mean = survival.mean(axis=0, keepdims=True)  # in place of the exact one: never a loss
        before = self._solve(mean, plan.rounds, plan.miss_cost, 0)[0][0, 0]
        return max(0.0, float(before - after))

    def miss_cost_for(self, miss_chance: float, rounds: int) -> float:
        """Return the least cost of missing at which the plan misses rarely enough.

        Where no plan does, the least at which it hardly misses more than any other.
        """
        at_hand = self.price * self.bought[STEPS_PER_DOUBLING]  # one doubling
        low, high = (float(np.log(at_hand * bound)) for bound in MISS_COSTS)

        def missed(log_cost: float) -> float:
            return float(self._solve(self.survival[None], rounds, np.exp(log_cost), 0)[1][0, 0])

        accepted = max(miss_chance, missed(high) + LEAST_GAIN)
        for _ in range(24):
            middle = (low + high) / 2
            low, high = (low, middle) if missed(middle) <= accepted else (middle, high)
        cost = float(np.exp(high))  # a plan that learns stops where it sees that it will not pay
        for _ in range(MAX_RAISES):
            if self.best(rounds, cost)[1][1] <= accepted:
                break
            cost *= 1.5
        return cost
