"""The stored predictions behind the entries of a grid, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

from numpy.typing import NDArray

from adapters_xitt.analysis.calibration.distributions import distributions
from adapters_xitt.analysis.calibration.temperature import fit_temperature
from adapters_xitt.analysis.contrasts import RowName
from adapters_xitt.analysis.frame import ordered
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


Entry = Mapping[str, Any]
Place = tuple[str, str, str, str, str, int]  # method, intermediate, mode, target, language, seed
# Of a row's predictions, and those of the same row and seed in English where languages are
# compared; None where the predictions don't tell.
Statistics = Callable[[Prediction, Prediction | None], ItemStatistics | None]


class Evidence:
    """The entries of a grid by their place and their row, and the predictions behind them."""

    def __init__(self, grid: dict[str, Any], store: Store) -> None:
        self.grid, self.store = grid, store
        self._entries: dict[Place, Entry] = {}
        self._by_row: dict[tuple[str, str, RowName], list[Entry]] = {}
        for entry in grid["entries"]:
            method, intermediate, mode, target, *_ = place = place_of(entry)
            self._entries[place] = entry
            self._by_row.setdefault((method, target, (intermediate, mode)), []).append(entry)
        self._read = lru_cache(maxsize=HELD)(self._load)
        self._fit = lru_cache(maxsize=None)(self._fit_temperature)
        self._counted = lru_cache(maxsize=COUNTED)(self._count)

    @property
    def complete(self) -> bool:
        """Whether the predictions of every entry are in the store."""
        done = (entry for entry in self._entries.values() if entry["status"] == DONE)
        return all(self.store.has_result(key) for key in {entry["key"] for entry in done})

    @property
    def has_temperatures(self) -> bool:
        """Whether selection splits were scored, on which temperatures are fitted."""
        return any(entry.get("calibration_key") for entry in self._entries.values())

    @cached_property
    def ordered(self) -> list[Entry]:
        """The entries in their one fixed order."""
        return list(ordered(self.grid))

    def of_rows(self, method: str, targets: Iterable[str], names: Iterable[RowName]) -> list[Entry]:
        """The entries of rows on targets."""
        names = tuple(names)
        return [
            entry
            for target in targets
            for name in names
            for entry in self._by_row.get((method, target, name), ())
        ]

    def prediction(self, place: Place) -> Prediction:
        """The predictions of one entry. A `XittError` where the store lacks them."""
        method, intermediate, mode, target, language, seed = place
        entry = self._entries.get(place)
        if not entry or entry["status"] != DONE or not self.store.has_result(entry["key"]):
            named = f"{intermediate} {mode}".strip()
            raise XittError(
                f"no predictions of {named} ({method}) on {target} in {language}, seed {seed}, in"
                f" {self.store.root}"
            )
        return self._read(entry["key"], target, language, entry.get("calibration_key") or "")

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
        return self._entries[place]["score"]

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


def place_of(entry: Entry) -> Place:
    """Where an entry stands."""
    return (
        entry["method"],
        entry["intermediate"],
        entry["mode"],
        entry["target"],
        entry["language"],
        entry["seed"],
    )
