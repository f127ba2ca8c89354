"""Variance components of crossed and nested factors, with intervals.

y = mean + one random effect for each factor's level + what is left, all of them normal and
independent. The estimates are restricted maximum likelihood: statsmodels' `MixedLM` finds them, and
the same criterion, from cross-products alone, makes them precise. Intervals are its profiles (as
those of lme4, Bates, Mächler, Bolker and Walker 2015, but restricted ones): the values at which
twice the restricted log-likelihood, maximised over the other components, is less than χ²(1)'s 95th
percentile below its maximum. A component is at 0 where its lower end is; near there the percentile
is too wide, since half of the distribution is at 0 (Self and Liang 1987): the interval errs by
holding more than 95 %."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import brentq, minimize
from scipy.stats import chi2

from adapters_xitt.errors import XittError

LEFT = "left"  # the name of what is left
ZERO = 1e-6  # of the whole variance: a component below is at its boundary, which is 0
FAR = 1e4  # times the whole variance: an upper end beyond is not told


@dataclass(frozen=True)
class Component:
    """The variance of one factor."""

    name: str  # of the factor; LEFT: of what is left
    levels: int  # of what is left: the observations
    variance: float
    low: float
    high: float  # infinity where the data set no bound
    share: float  # of the sum of all components' variances

    @property
    def at_zero(self) -> bool:
        """Whether no variance at all fits the data as well."""
        return self.low == 0


def components(values: NDArray, factors: Mapping[str, NDArray]) -> list[Component]:
    """The components of `values` [observations]: one for each factor, whose array [observations]
    has the level of each, and what is left. A `XittError` where the values don't vary, nothing is
    left, or a factor can't be told from another one or from what is left."""
    _check(values, factors)
    criterion = _Criterion(values, factors)
    best = criterion.minimise(_fit(values, factors))
    if best.variances[-1] < ZERO * best.variances.sum():
        raise XittError("the factors leave nothing over: there is no error to measure them by")
    variances = np.where(best.variances > ZERO * best.variances.sum(), best.variances, 0.0)
    counts = [*(len(np.unique(levels)) for levels in factors.values()), len(values)]
    return [
        Component(
            name,
            counts[index],
            float(variances[index]),
            *criterion.interval(index, best),
            float(variances[index] / variances.sum()),
        )
        for index, name in enumerate([*factors, LEFT])
    ]


def _check(values: NDArray, factors: Mapping[str, NDArray]) -> None:
    if np.ptp(values) == 0:
        raise XittError("every value is the same: there is no variance to split")
    seen: dict[bytes, str] = {}
    for name, levels in factors.items():
        _, codes = np.unique(levels, return_inverse=True)
        _, first = np.unique(codes, return_index=True)
        order = np.empty_like(first)
        order[np.argsort(first)] = np.arange(len(first))
        same = seen.setdefault(order[codes].tobytes(), name)
        if same != name:
            raise XittError(f"{name} and {same} part the values alike")
        if len(first) in (1, len(values)):
            raise XittError(f"{name} has {len(first)} levels over {len(values)} values")


def _fit(values: NDArray, factors: Mapping[str, NDArray]) -> NDArray:
    """The variance of every factor, and what is left: by statsmodels, on values of variance 1."""
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    scale = values.std()
    designs = [pd.get_dummies(levels).to_numpy(np.float64) for levels in factors.values()]
    names = [[str(number) for number in range(design.shape[1])] for design in designs]
    specification = VCSpec(list(factors), [[each] for each in names], [[each] for each in designs])
    model = MixedLM(
        (values - values.mean()) / scale,
        np.ones((len(values), 1)),
        groups=np.zeros(len(values)),
        exog_vc=specification,
    )
    with warnings.catch_warnings():  # of an estimate at the boundary, which the caller tells
        warnings.simplefilter("ignore")
        fitted = model.fit(reml=True, method=["lbfgs"])
    return np.array([*fitted.vcomp, fitted.scale]) * scale**2


class Minimum(NamedTuple):
    """Variances at which a criterion is least, and how much it is there."""

    variances: NDArray
    value: float


class _Criterion:
    """Minus twice the restricted log-likelihood, up to a constant, from cross-products: with Z the
    levels' indicators, D their variances and V = D's effects and what is left."""

    def __init__(self, values: NDArray, factors: Mapping[str, NDArray]) -> None:
        designs = [pd.get_dummies(levels).to_numpy(np.float64) for levels in factors.values()]
        levels = np.hstack(designs)
        sides = np.column_stack([np.ones(len(values)), values - values.mean()])
        self.factor = np.repeat(np.arange(len(designs)), [each.shape[1] for each in designs])
        self.levels, self.sides, self.both = levels.T @ levels, sides.T @ sides, levels.T @ sides
        self.count, self.whole = len(values), float(values.var())

    def __call__(self, variances: NDArray) -> float:
        """At the variance of each factor, and of what is left, which comes last."""
        left = variances[-1]
        root = np.sqrt(variances[:-1] / left)[self.factor]
        inner = np.eye(len(root)) + root[:, None] * self.levels * root
        lower = np.linalg.cholesky(inner)
        reduced = solve_triangular(lower, root[:, None] * self.both, lower=True)
        # [[1'V⁻¹1, 1'V⁻¹y], [y'V⁻¹1, y'V⁻¹y]] times what is left
        (ones, crossed), (_, squares) = self.sides - reduced.T @ reduced
        rest = (squares - crossed**2 / ones) / left
        determinant = 2 * np.log(np.diag(lower)).sum()
        return float((self.count - 1) * np.log(left) + determinant + np.log(ones) + rest)

    def minimise(self, start: NDArray, fixed: int | None = None) -> Minimum:
        """Where it is least, from a start; with one of the variances kept as it is there."""
        free = np.array([index for index in range(len(start)) if index != fixed], dtype=np.int64)
        variances = np.array(start, dtype=np.float64)

        def logarithmic(logarithms: NDArray) -> float:
            variances[free] = np.exp(logarithms)
            return self(variances)

        bounds = np.log(self.whole) + np.log([ZERO / 100, 100 * FAR])
        begin = np.clip(np.log(np.maximum(variances[free], 1e-300)), *bounds)
        least = minimize(logarithmic, begin, method="L-BFGS-B", bounds=[tuple(bounds)] * len(free))
        variances[free] = np.exp(least.x)
        return Minimum(variances, float(least.fun))

    def interval(self, index: int, best: Minimum) -> tuple[float, float]:
        """The 95 % profile interval of a variance."""
        limit = best.value + chi2.ppf(0.95, 1)

        def above(logarithm: float) -> float:
            start = best.variances.copy()
            start[index] = np.exp(logarithm)
            return self.minimise(start, fixed=index).value - limit

        middle = np.log(max(best.variances[index], ZERO * self.whole))
        least, most = np.log(ZERO / 10 * self.whole), np.log(FAR * self.whole)
        low = high = middle
        while above(low) < 0 and low > least:
            low -= 1.0
        while above(high) < 0 and high < most:
            high += 1.0
        return (
            0.0 if low <= least else float(np.exp(brentq(above, low, low + 1, xtol=1e-4))),
            np.inf if high >= most else float(np.exp(brentq(above, high - 1, high, xtol=1e-4))),
        )
