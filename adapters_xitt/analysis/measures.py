"""The quantities that rows are compared in: the main score of a task, and whatever else stored
predictions tell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from adapters_xitt.analysis import consistency
from adapters_xitt.analysis.calibration.table import AFTER, CALIBRATION
from adapters_xitt.analysis.evidence import Prediction, Statistics
from adapters_xitt.analysis.scores import main_score
from adapters_xitt.analysis.statistics import ItemStatistics
from adapters_xitt.errors import XittError, unknown


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A quantity of one row, seed and language."""

    name: str  # as a question names it
    about: str  # one line for people
    statistics: Statistics
    higher_is_better: bool = True
    # the kinds of tasks that it is known for; empty: every kind
    kinds: tuple[str, ...] = ()
    # whether a language is compared with English, item by item
    against_english: bool = False


def _score(prediction: Prediction, english: Prediction | None) -> ItemStatistics | None:
    return main_score(prediction)


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure(
            name="score",
            about="the main score of each task, in its own points",
            statistics=_score,
        ),
        *(
            Measure(
                name=name,
                about=comparison.about,
                statistics=partial(consistency.statistics, name),
                kinds=comparison.kinds,
                against_english=True,
            )
            for name, comparison in consistency.COMPARISONS.items()
        ),
        *(
            Measure(
                name=each.name + ending,
                about=each.about + ending,
                statistics=each.after if ending else each.before,
                higher_is_better=each.higher_is_better,
                kinds=each.kinds,
            )
            for each in CALIBRATION.values()
            for ending in ("", AFTER)
        ),
    )
}


def measure(name: str) -> Measure:
    """A measure by its name; a `XittError` with the nearest where there is none."""
    if name not in MEASURES:
        raise XittError(unknown("measure", name, MEASURES))
    return MEASURES[name]
