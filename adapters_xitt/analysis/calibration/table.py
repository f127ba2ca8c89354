"""The measures of calibration by their names, each before and after temperature scaling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from adapters_xitt.analysis.calibration import measures
from adapters_xitt.analysis.calibration.distributions import KINDS, Distributions, distributions
from adapters_xitt.analysis.evidence import Prediction
from adapters_xitt.analysis.statistics import ItemStatistics

AFTER = " after temperature"  # ends the name of a measure of scaled probabilities


@dataclass(frozen=True, kw_only=True)
class CalibrationMeasure:
    """A measure of calibration."""

    name: str  # as a question names it; with `AFTER` of scaled probabilities
    title: str  # the head of a column
    about: str  # one line for people
    measure: Callable[[Distributions], ItemStatistics]
    higher_is_better: bool = False
    kinds: tuple[str, ...] = KINDS
    answers: Callable[[Distributions], ItemStatistics] | None = None  # of answer spans, where other
    points: bool = True  # whether it is a share in points

    def before(
        self, prediction: Prediction, english: Prediction | None = None
    ) -> ItemStatistics | None:
        """Of the probabilities as they are; None where the kind stores none."""
        decisions = distributions(prediction)
        return None if decisions is None else self.of(decisions, prediction.task.kind)

    def after(
        self, prediction: Prediction, english: Prediction | None = None
    ) -> ItemStatistics | None:
        """Of the probabilities at the temperature of the row and seed; None where it has none."""
        decisions, temperature = distributions(prediction), prediction.temperature
        if decisions is None or temperature is None:
            return None
        return self.of(decisions.scaled(temperature), prediction.task.kind)

    def of(self, decisions: Distributions, kind: str) -> ItemStatistics | None:
        """Of these distributions of a kind of task; None of a kind for which it says nothing."""
        if kind not in self.kinds:
            return None
        return (self.answers if kind == "qa" and self.answers else self.measure)(decisions)


CALIBRATION: dict[str, CalibrationMeasure] = {
    each.name: each
    for each in (
        CalibrationMeasure(
            name="ece",
            title="ECE",
            about="expected calibration error over ten bins of equal width, in points",
            measure=measures.ece,
        ),
        CalibrationMeasure(
            name="equal-mass ece",
            title="equal-mass ECE",
            about="expected calibration error over ten bins with as many decisions each, in points",
            measure=measures.equal_mass_ece,
        ),
        CalibrationMeasure(
            name="classwise error",
            title="classwise error",
            about="static calibration error: the mean over labels, in points",
            measure=measures.classwise_error,
            kinds=("pair", "tagging"),
        ),
        CalibrationMeasure(
            name="overconfidence",
            title="over-confidence",
            about="mean confidence minus accuracy, in points",
            measure=measures.overconfidence,
        ),
        CalibrationMeasure(
            name="brier",
            title="Brier",
            about="Brier score over all classes; of answers, of whether the answer is right",
            measure=measures.brier,
            answers=measures.answer_brier,
            points=False,
        ),
        CalibrationMeasure(
            name="nll",
            title="NLL",
            about="negative log-likelihood of what is gold, in nats",
            measure=measures.nll,
            points=False,
        ),
        CalibrationMeasure(
            name="selective risk",
            title="selective risk",
            about="area under the risk-coverage curve: mean error in percent over all coverages",
            measure=measures.selective_risk,
        ),
        CalibrationMeasure(
            name="accuracy at 50",
            title="accuracy at 50 %",
            about="accuracy of the more confident half, in percent",
            measure=partial(measures.accuracy_at, coverage=50),
            higher_is_better=True,
        ),
        CalibrationMeasure(
            name="accuracy at 80",
            title="accuracy at 80 %",
            about="accuracy of the most confident four fifths, in percent",
            measure=partial(measures.accuracy_at, coverage=80),
            higher_is_better=True,
        ),
    )
}
