"""How well confidence fits what is right: each measure as a function of sums over test items.

Shares are in points. Bins and thresholds are those of the row, seed and language at hand; where its
items are drawn again or left out they stay, so that every measure is a function of sums."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.analysis.calibration.distributions import Distributions
from adapters_xitt.analysis.statistics import ItemStatistics

BINS = 10
# the least probability that a likelihood counts as: stored ones are float32
FLOOR = float(np.finfo(np.float32).eps)
PERCENTILES = 100  # coverages over which the risk is averaged


def bins(confidence: NDArray, edges: NDArray) -> NDArray:
    """The bin of each confidence; a bin holds its upper edge. `edges` are those inside."""
    return np.searchsorted(edges, confidence, side="left")


EQUAL_WIDTH = np.linspace(0, 1, BINS + 1)[1:-1]


def equal_mass(confidence: NDArray, count: int) -> NDArray:
    """The inner edges of `count` bins that hold as many of these confidences each."""
    return np.sort(confidence)[-(-len(confidence) * np.arange(1, count) // count) - 1]


# -- do confidence and accuracy agree? -------------------------------------------------------------


def ece(decisions: Distributions) -> ItemStatistics:
    """Expected calibration error (Naeini et al. 2015; Guo et al. 2017): the gap of accuracy and
    mean confidence in each of ten bins of equal width, weighted by the decisions in it."""
    return _gaps(decisions, EQUAL_WIDTH)


def equal_mass_ece(decisions: Distributions) -> ItemStatistics:
    """The same over ten bins with as many decisions each (Nguyen and O'Connor 2015; Nixon et al.
    2019), which equal confidences may keep from being equal."""
    return _gaps(decisions, equal_mass(decisions.confidence, BINS))


def _gaps(decisions: Distributions, edges: NDArray) -> ItemStatistics:
    surplus = decisions.right - decisions.confidence
    places = bins(decisions.confidence, edges)
    return decisions.statistics(places, surplus, BINS, lambda sums: 100 * _absolute(sums))


def classwise_error(decisions: Distributions) -> ItemStatistics:
    """Static calibration error (Nixon et al. 2019, "Measuring calibration in deep learning",
    section 3.1): the gap of each class's frequency and mean probability in ten bins of equal width,
    the mean over classes."""
    places = np.arange(decisions.classes) * BINS + bins(decisions.probabilities, EQUAL_WIDTH)
    surplus = decisions.gold - decisions.probabilities
    classes = decisions.classes
    return decisions.statistics(
        places, surplus, classes * BINS, lambda sums: 100 * _absolute(sums) / classes
    )


def overconfidence(decisions: Distributions) -> ItemStatistics:
    """Mean confidence minus accuracy; below 0 where a row is too modest."""
    surplus = decisions.confidence - decisions.right
    return _mean(decisions, surplus, points=True)


def _absolute(sums: NDArray) -> NDArray:
    """The absolute sums over the count, which is the last."""
    return np.abs(sums[..., :-1]).sum(axis=-1) / sums[..., -1]


# -- proper scores ---------------------------------------------------------------------------------


def brier(decisions: Distributions) -> ItemStatistics:
    """Brier score (1950): the squared distance of the probabilities from what is gold, over all
    classes, 0 to 2."""
    squares = ((decisions.probabilities - decisions.gold) ** 2).sum(axis=1)
    return _mean(decisions, squares)


def answer_brier(decisions: Distributions) -> ItemStatistics:
    """Brier score of whether the chosen answer is right, 0 to 1: what a text's probability is
    spread over has no fixed classes."""
    return _mean(decisions, (decisions.confidence - decisions.right) ** 2)


def nll(decisions: Distributions) -> ItemStatistics:
    """Negative log-likelihood of what is gold, in nats; a probability counts as `FLOOR` at least.
    Of answers the probability of the kept texts that equal a gold one together, and where none does
    that of one of the other spans, which share what is left evenly."""
    return _mean(decisions, -np.log(decisions.likelihood.clip(FLOOR)))


def _mean(decisions: Distributions, each: NDArray, *, points: bool = False) -> ItemStatistics:
    """The mean over decisions; `points`: times 100."""
    factor = 100 if points else 1
    return decisions.statistics(
        np.zeros(len(each), dtype=int), each, 1, lambda sums: factor * sums[..., 0] / sums[..., -1]
    )


# -- selective prediction --------------------------------------------------------------------------


def selective_risk(decisions: Distributions) -> ItemStatistics:
    """Area under the risk-coverage curve (Geifman et al. 2018, "Bias-reduced uncertainty
    estimation", section 2): the errors in percent among the most confident 1 %, 2 % … 100 %, the
    mean of these. Equal confidences are in or out together."""
    doubt = -decisions.confidence
    places = bins(doubt, equal_mass(doubt, PERCENTILES))
    # two columns of each percentile: its errors, its decisions
    columns = np.column_stack([places, places + PERCENTILES])
    weights = np.column_stack([~decisions.right, np.ones(len(places))])
    return decisions.statistics(columns, weights, 2 * PERCENTILES, _area)


def _area(sums: NDArray) -> NDArray:
    """The mean risk over percentiles, the most confident first; those without a decision, as where
    items are drawn again, are left out."""
    errors = sums[..., :PERCENTILES].cumsum(axis=-1)
    kept = sums[..., PERCENTILES:-1].cumsum(axis=-1)
    risk = errors / np.where(kept > 0, kept, 1)
    return 100 * risk.sum(axis=-1) / (kept > 0).sum(axis=-1)


def accuracy_at(decisions: Distributions, coverage: int) -> ItemStatistics:
    """The share of right ones, in percent, among the most confident `coverage` percent of the
    decisions, with all that are as confident as the last of them."""
    doubt = -decisions.confidence
    kept = doubt <= np.sort(doubt)[-(-len(doubt) * coverage // 100) - 1]
    columns = np.broadcast_to(np.arange(2), (len(kept), 2))
    weights = np.column_stack([decisions.right & kept, kept])
    return decisions.statistics(columns, weights, 2, lambda sums: 100 * sums[..., 0] / sums[..., 1])


# -- the curves behind them ------------------------------------------------------------------------


def reliability(confidence: NDArray, right: NDArray) -> tuple[NDArray, NDArray, NDArray]:
    """What a reliability diagram shows of ten bins of equal width: how many decisions are in each,
    their mean confidence and accuracy, NaN where there is none."""
    places = bins(confidence, EQUAL_WIDTH)
    counts, sums, hits = (
        np.bincount(places, weights, minlength=BINS)
        for weights in (np.ones(len(places)), confidence, right.astype(np.float64))
    )
    with np.errstate(invalid="ignore"):
        return counts, sums / counts, hits / counts


def risk_coverage(confidence: NDArray, right: NDArray) -> NDArray:
    """The errors, a share, among the most confident decisions, [n]: of one, two, … all."""
    order = np.argsort(-confidence, kind="stable")
    return (~right[order]).cumsum() / np.arange(1, len(order) + 1)
