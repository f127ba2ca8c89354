"""One number that makes a row's probabilities fit: its temperature."""

from __future__ import annotations

import math

import numpy as np

from adapters_xitt.analysis.calibration.distributions import Distributions

LEAST, MOST = 0.05, 20.0  # a split that is all right, or all wrong, would ask for 0 or infinity
PRECISION = 1e-6  # of its logarithm


def fit_temperature(selection: Distributions) -> float:
    """The temperature at which the gold of a selection split is likeliest (Guo et al. 2017, "On
    calibration of modern neural networks", section 4.2): one number for all classes, so that no
    decision changes. Between `LEAST` and `MOST`.

    The negative log-likelihood is convex in 1/T, so that it has one minimum in log T, too."""
    from scipy import optimize

    def loss(log_temperature: float) -> float:
        likelihood = selection.scaled(math.exp(log_temperature)).likelihood
        return float(-np.log(likelihood.clip(1e-300)).mean())

    bounds = (math.log(LEAST), math.log(MOST))
    fitted = optimize.minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": PRECISION}
    )
    return math.exp(float(fitted.x))
