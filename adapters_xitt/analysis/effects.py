"""The difference between rows of a grid: its size, its interval, its p-value, and what could have
been found.

The rows are paired: the same seeds, the same test items. Seeds and items are both samples, crossed
with each other (every seed is scored on every item), and a difference is only believed where it
would be found again with other seeds *and* other items: the argument of Clark (1973, "The
language-as-fixed-effect fallacy"), and of Obuchowski and Rockette (1995) for readers and cases,
whose estimator this is. With D_s the difference of seed s over the items:

    variance of the mean = (variance of D_s over seeds) / seeds + covariance of two seeds' D_s

The first term holds what seeds do, alone and together with items; the covariance, estimated item by
item over pairs of seeds, is what the items do that all seeds share. It is cut off at 0.

The first term has no more than seeds - 1 degrees of freedom. Its sum with the second is taken to be
distributed as the sum of two scaled t variables (Behrens 1929, Fisher 1935), not as one t with
Welch's degrees of freedom: with two or three seeds those give false positives in up to 12 % of null
differences where 5 % are meant, this gives no more than 5 % (`scripts/null_differences`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.05  # of tests; intervals have 95 %
POWER = 0.8  # with which the smallest detectable effect would have been found
MANY = 1e6  # degrees of freedom from which a t variable is normal
NODES, TAIL = 160, 1e-14  # of the integral over a variance, and what it leaves out at each end


@dataclass(frozen=True)
class Uncertainty:
    """Two sources of error of a mean, each a scaled t variable: standard errors and degrees of
    freedom."""

    seed_error: float
    seed_freedom: float
    item_error: float  # of items, or of languages where these are a sample
    item_freedom: float

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return float(np.hypot(self.seed_error, self.item_error))

    def p_value(self, difference: float) -> float:
        """The probability, both sides together, of a difference of that size from none."""
        from scipy import special

        if self.error == 0:
            return 1.0 if difference == 0 else 0.0
        # A t variable is a normal one over the root of a mean of squares: given both of these, the
        # sum is normal.
        seeds, seed_weights = _mean_squares(self.seed_freedom)
        items, item_weights = _mean_squares(self.item_freedom)
        variances = self.seed_error**2 / seeds[:, None] + self.item_error**2 / items
        tails = 2 * special.ndtr(-abs(difference) / np.sqrt(variances))
        return float(min(1.0, seed_weights @ tails @ item_weights))

    def half_width(self, level: float = LEVEL) -> float:
        """The difference whose p-value is `level`: half the width of an interval."""
        from scipy import optimize

        if self.error == 0:
            return 0.0
        high = self.error
        while self.p_value(high) > level:
            high *= 2
        return float(optimize.brentq(lambda size: self.p_value(size) - level, 0.0, high))

    def detectable(self, level: float = LEVEL, power: float = POWER) -> float:
        """The smallest true difference that a test at `level` finds with probability `power`
        (Bloom 1995, "Minimum detectable effects")."""
        return self.half_width(level) + self.half_width(2 * (1 - power))


@lru_cache(maxsize=1000)
def _mean_squares(freedom: float) -> tuple[NDArray, NDArray]:
    """Nodes and weights of the distribution of a mean of `freedom` squared normal variables: the
    trapezoidal rule over its logarithm, a smooth bell."""
    from scipy import stats

    if freedom > MANY:
        return np.ones(1), np.ones(1)
    squares = stats.chi2(freedom)
    logs = np.linspace(np.log(squares.ppf(TAIL)), np.log(squares.isf(TAIL)), NODES)
    weights = squares.pdf(np.exp(logs)) * np.exp(logs)
    return np.exp(logs) / freedom, weights / weights.sum()


@dataclass(frozen=True, eq=False)
class Effect:
    """A difference of rows, in the points of its measure."""

    difference: float  # mean over seeds of the mean over targets of the mean over languages
    by_seed: NDArray  # [seeds]
    uncertainty: Uncertainty | None  # None for one seed: what seeds do is then unknown

    @property
    def p_value(self) -> float | None:
        """Of no difference; None where it can't be known."""
        return None if self.uncertainty is None else self.uncertainty.p_value(self.difference)

    def interval(self, level: float = LEVEL) -> tuple[float, float] | None:
        """Of 1 - `level`."""
        if self.uncertainty is None:
            return None
        half = self.uncertainty.half_width(level)
        return self.difference - half, self.difference + half

    def p_beyond(self, bound: float) -> float | None:
        """The p-value of a true difference of `bound` or more in either direction: two one-sided
        tests (Schuirmann 1987)."""
        if self.uncertainty is None:
            return None
        room = bound - abs(self.difference)
        half = self.uncertainty.p_value(room) / 2
        return half if room > 0 else 1 - half


@dataclass(frozen=True, eq=False)
class Stratum:
    """Sampled units of one kind, exchangeable among each other: the items of one language, or
    languages."""

    contributions: NDArray  # [seeds, units]: each unit's part in the difference of each seed


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the items of a test in one language contribute to the difference of each seed."""

    ids: tuple[str, ...]
    parts: NDArray  # [seeds, items]


def item_strata(languages: Sequence[Contributions], *, parallel: bool) -> list[Stratum]:
    """A stratum for the items of each language; of a parallel test one, of the items that its
    languages share."""
    each = [_joined(languages)] if parallel else languages
    return [Stratum(of_items.parts) for of_items in each if of_items.ids]


def _joined(languages: Sequence[Contributions]) -> Contributions:
    """What items contribute over several languages together."""
    ids = tuple(dict.fromkeys(item for each in languages for item in each.ids))
    indices = {item: index for index, item in enumerate(ids)}
    joined = np.zeros((len(languages[0].parts), len(ids)))
    for each in languages:
        joined[:, [indices[item] for item in each.ids]] += each.parts
    return Contributions(ids, joined)


def effect(by_seed: NDArray, strata: Sequence[Stratum]) -> Effect:
    """The difference of rows from that of each seed [seeds], and what the sampled units of each
    stratum contribute to it; a stratum's contributions are centred here."""
    seeds = len(by_seed)
    difference = float(by_seed.mean())
    if seeds < 2:
        return Effect(difference, by_seed, None)
    parts, freedoms, apart = [], [], 0.0
    for stratum in strata:
        sample = stratum.contributions.shape[1]
        if sample > 1:
            shared, alone = _covariance(stratum.contributions)
            parts.append(shared)
            freedoms.append(sample - 1)
            apart += alone - shared
    covariance, freedom = sum(parts), float("inf")
    squares = sum(part**2 / free for part, free in zip(parts, freedoms, strict=True))
    if squares > 0:
        freedom = covariance**2 / squares  # Satterthwaite, over strata
    # Scores come in steps, so that seeds may agree to the bit by chance: then they vary at least as
    # much as what each does with the items alone.
    variance = by_seed.var(ddof=1) or max(apart, 0.0)
    uncertainty = Uncertainty(
        float(np.sqrt(variance / seeds)),
        seeds - 1,
        float(np.sqrt(max(covariance, 0.0))),
        max(freedom, 1.0),
    )
    return Effect(difference, by_seed, uncertainty)


def _covariance(contributions: NDArray) -> tuple[float, float]:
    """Of the sums over units, by the units: what two different seeds share, the mean over pairs of
    seeds, and the variance of one seed's, their mean; [seeds, units]."""
    seeds, sample = contributions.shape
    centred = contributions - contributions.mean(axis=1, keepdims=True)
    alone = (centred**2).sum()
    together = ((centred.sum(axis=0) ** 2).sum() - alone) / (seeds - 1)
    scale = sample / (sample - 1) / seeds
    return float(scale * together), float(scale * alone)
