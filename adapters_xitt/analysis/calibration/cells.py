"""Every cell of a grid with its calibration: measures before and after temperature scaling, what
each test item contributes to them, and the curves of its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.analysis.calibration import measures
from adapters_xitt.analysis.calibration.distributions import Distributions, distributions
from adapters_xitt.analysis.calibration.table import AFTER, CALIBRATION
from adapters_xitt.analysis.evidence import Evidence, place_of
from adapters_xitt.analysis.tables import Name
from adapters_xitt.study.results import DONE

PLACE = ("method", "intermediate", "mode", "target", "language", "seed")
COMPARED = ("ece", "overconfidence", "brier", "nll")  # the measures that are told with intervals


@dataclass(frozen=True, eq=False)
class Curves:
    """What pictures show of a cell, as sums that can be added up over cells."""

    counts: NDArray  # [bins] decisions, by confidence in ten bins of equal width
    confidence: NDArray  # [bins] summed confidence
    hits: NDArray  # [bins] right decisions
    risk: NDArray  # [100] share of errors among the most confident 1 %, 2 % … of the decisions

    @classmethod
    def of(cls, decisions: Distributions) -> Curves:
        places = measures.bins(decisions.confidence, measures.EQUAL_WIDTH)
        counts, confidence, hits = (
            np.bincount(places, weights, minlength=measures.BINS)
            for weights in (None, decisions.confidence, decisions.right.astype(np.float64))
        )
        risk = measures.risk_coverage(decisions.confidence, decisions.right)
        percents = np.arange(1, 101)
        return cls(counts, confidence, hits, risk[-(-len(risk) * percents // 100) - 1])


@dataclass(frozen=True, eq=False)
class CalibratedCell:
    """One row, target, language and seed."""

    method: str
    intermediate: str
    mode: str
    target: str
    language: str
    seed: int
    tag: str
    temperature: float | None  # None where the selection split wasn't scored
    values: Mapping[
        str, float
    ]  # by the name of a measure, with `AFTER` where there is a temperature
    ids: tuple[str, ...]  # of the test items
    # by the name of a measure that is told with intervals: what each item contributes to it [items]
    contributions: Mapping[str, NDArray]
    before: Curves
    after: Curves | None

    @property
    def name(self) -> Name:
        """The row's."""
        return self.method, self.intermediate, self.mode


def calibrated_cells(evidence: Evidence) -> Iterator[CalibratedCell]:
    """The cells that are scored and have distributions, in the grid's fixed order."""
    for entry in evidence.ordered:
        if entry["status"] != DONE:
            continue
        prediction = evidence.prediction(place_of(entry))
        decisions = distributions(prediction)
        if decisions is None:
            continue
        temperature = prediction.temperature
        forms = {"": decisions}
        if temperature is not None:
            forms[AFTER] = decisions.scaled(temperature)
        values: dict[str, float] = {}
        contributions: dict[str, NDArray] = {}
        for ending, form in forms.items():
            for name, measure in CALIBRATION.items():
                statistics = measure.of(form, prediction.task.kind)
                if statistics is None:
                    continue
                values[name + ending] = statistics.total
                if name in COMPARED:
                    contributions[name + ending] = statistics.influences() / len(statistics.ids)
        yield CalibratedCell(
            **{name: entry[name] for name in PLACE},
            tag=entry["tag"],
            temperature=temperature,
            values=values,
            ids=decisions.ids,
            contributions=contributions,
            before=Curves.of(decisions),
            after=Curves.of(forms[AFTER]) if AFTER in forms else None,
        )
