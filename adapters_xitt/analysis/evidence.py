"""The stored predictions behind the entries of a grid, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

from numpy.typing import NDArray

from adapters_xitt.analysis.calibration.distributions import distributions
from adapters_xitt.analysis.calibration.temperature import fit_temperature
from adapters_xitt.analysis.statistics import ItemStatistics
from adapters_xitt.errors import XittError
from adapters_xitt.study.results import DONE
from adapters_xitt.study.store import Store
from adapters_xitt.tasks import Task, task

HELD = 64  # predictions held at once
COUNTED = 8192  # statistics held at once: the rows of a table are compared with the same `none`


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one row predicts for a test in one language, with one seed."""

    task: Task
    language: str
    items: list[dict[str, Any]]  # by example, as its kind decodes them
    arrays: Mapping[str, NDArray]  # the probabilities beside them
    # what fits the temperature of the row and seed, when it is asked for
    fit: Callable[[], float | None] = lambda: None

    @property
    def temperature(self) -> float | None:
        """At which its probabilities are calibrated, by its row's selection split; None where that
        was not scored."""
        return self.fit()


Place = tuple[str, str, str, str, str, int]  # method, intermediate, mode, target, language, seed
# Of a row's predictions, and those of the same row and seed in English where languages are
# compared; None where the predictions don't tell.
Statistics = Callable[[Prediction, Prediction | None], ItemStatistics | None]


class Evidence:
    """Predictions by the place of their entry in a grid."""

    def __init__(self, grid: dict[str, Any], store: Store) -> None:
        self.grid, self.store = grid, store
        self.keys: dict[Place, str] = {
            place_of(entry): entry["key"] for entry in grid["entries"] if entry["status"] == DONE
        }
        self.calibration_keys: dict[Place, str] = {
            place_of(entry): entry["calibration_key"]
            for entry in grid["entries"]
            if entry.get("calibration_key")
        }
        self._scores: dict[Place, float] = {
            place_of(entry): entry["score"] for entry in grid["entries"] if entry["status"] == DONE
        }
        self._read = lru_cache(maxsize=HELD)(self._load)
        self._fit = lru_cache(maxsize=None)(self._fit_temperature)
        self._counted = lru_cache(maxsize=COUNTED)(self._count)

    @property
    def complete(self) -> bool:
        """Whether the predictions of every entry are in the store."""
        return all(self.store.has_result(key) for key in set(self.keys.values()))

    def prediction(self, place: Place) -> Prediction:
        """The predictions of one entry. A `XittError` where the store lacks them."""
        method, intermediate, mode, target, language, seed = place
        if place not in self.keys or not self.store.has_result(self.keys[place]):
            named = f"{intermediate} {mode}".strip()
            raise XittError(
                f"no predictions of {named} ({method}) on {target} in {language}, seed {seed}, in"
                f" {self.store.root}"
            )
        calibration_key = self.calibration_keys.get(place, "")
        return self._read(self.keys[place], target, language, calibration_key)

    def statistics(
        self, place: Place, count: Statistics, english: Place | None = None
    ) -> ItemStatistics | None:
        """What `count` makes of the predictions of one entry, and of another's in English."""
        return self._counted(place, count, english)

    def _count(
        self, place: Place, count: Statistics, english: Place | None
    ) -> ItemStatistics | None:
        return count(self.prediction(place), self.prediction(english) if english else None)

    def score(self, place: Place) -> float:
        """The main score of one entry."""
        return self._scores[place]

    def _load(self, key: str, target: str, language: str, calibration_key: str) -> Prediction:
        items, arrays = self.store.load_predictions(key)
        fit = partial(self._fit, calibration_key)
        return Prediction(task(target), language, items, arrays, fit)

    def _fit_temperature(self, key: str) -> float | None:
        """The temperature that a cell on a selection split asks for."""
        if not key or not self.store.has_result(key):
            return None
        cell = self.store.load_result(key).cell
        items, arrays = self.store.load_predictions(key)
        selection = distributions(Prediction(task(cell.task), cell.language, items, arrays))
        return None if selection is None else fit_temperature(selection)


def place_of(entry: Mapping[str, Any]) -> Place:
    """Where an entry stands."""
    return (
        entry["method"],
        entry["intermediate"],
        entry["mode"],
        entry["target"],
        entry["language"],
        entry["seed"],
    )
