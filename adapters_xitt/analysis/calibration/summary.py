"""The calibration of a grid: by row, by group of languages, and along the distance to English."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from adapters_xitt.analysis.calibration.cells import PLACE, CalibratedCell, calibrated_cells
from adapters_xitt.analysis.calibration.table import AFTER, CALIBRATION
from adapters_xitt.analysis.correlation import spearman
from adapters_xitt.analysis.effects import Contributions, Effect, effect, item_strata
from adapters_xitt.analysis.evidence import Evidence
from adapters_xitt.analysis.tables import Name
from adapters_xitt.data.exposure import ZERO_SHOT
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.tasks import task

if TYPE_CHECKING:
    import pandas as pd

LEAST_LANGUAGES = 2  # of a group that is averaged
LEAST_CORRELATED = 5  # languages over which a correlation is told
DRAWS = 2000  # of languages, for a correlation's interval
NEAR, FAR = 0.2, 0.35  # bounds of the bands of distance to English
BANDS = (f"near, below {NEAR}", f"{NEAR} to {FAR}", f"far, above {FAR}")
NOT_KNOWN = "not known"
COLUMNS = {
    "family": "family",
    "script": "script",
    "joshi": "resource class",
    "order": "word order",
    "distance": "distance to English",
}


def group_of(code: str, column: str) -> str:
    """The group of a language by one of `COLUMNS`; a class is Joshi et al.'s (2020), a band is of
    the cosine distance of URIEL's syntax."""
    value = getattr(LANGUAGES[code], column)
    if value is None:
        return NOT_KNOWN
    if column == "distance":
        return BANDS[(value >= NEAR) + (value > FAR)]
    return f"class {value}" if column == "joshi" else value


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation over languages, with a 95 % interval."""

    rho: float
    low: float
    high: float
    languages: int


@dataclass(frozen=True)
class Groups:
    """The groups of one column of the language table: those with enough languages, and the
    others."""

    averaged: Mapping[str, tuple[str, ...]]
    named: Mapping[str, tuple[str, ...]]


class Calibration:
    """What the stored predictions of a grid say of confidence. Everything is over the languages of
    a target that no row has seen."""

    def __init__(self, cells: Iterable[CalibratedCell]) -> None:
        self.cells = tuple(cells)
        self._by_column: dict[tuple[Name, str, str], dict[int, CalibratedCell]] = {}
        for cell in self.cells:
            column = cell.name, cell.target, cell.language
            self._by_column.setdefault(column, {})[cell.seed] = cell

    @classmethod
    def of(cls, evidence: Evidence) -> Calibration:
        """Of a grid, from its stored predictions; a `XittError` where some are missing."""
        return cls(calibrated_cells(evidence))

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each scored cell: its place, temperature, and every measure before and after
        it; NaN where there is none."""
        import pandas as pd

        names = [name + ending for name in CALIBRATION for ending in ("", AFTER)]
        return pd.DataFrame(
            [
                {
                    **{name: getattr(cell, name) for name in (*PLACE, "temperature")},
                    **{name: cell.values.get(name) for name in names},
                }
                for cell in self.cells
            ],
            columns=[*PLACE, "temperature", *names],
        ).astype(dict.fromkeys(["temperature", *names], "float64"))

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(cell.target for cell in self.cells))

    def rows(self, target: str) -> tuple[Name, ...]:
        """The rows that a target has cells of."""
        return tuple(dict.fromkeys(cell.name for cell in self.cells if cell.target == target))

    def unseen(self, target: str) -> tuple[str, ...]:
        """The languages that no row has seen, as far as every row has cells of them."""
        cells = [cell for cell in self.cells if cell.target == target]
        seen = {cell.language for cell in cells if cell.tag not in ("", ZERO_SHOT)}
        rows = self.rows(target)
        return tuple(
            code
            for code in dict.fromkeys(cell.language for cell in cells)
            if code not in seen and all((name, target, code) in self._by_column for name in rows)
        )

    def temperatures(self, name: Name, target: str) -> list[float]:
        """Of each seed that has one."""
        by_seed = {
            cell.seed: cell.temperature
            for cell in self.cells
            if (cell.name, cell.target) == (name, target) and cell.temperature is not None
        }
        return [by_seed[seed] for seed in sorted(by_seed)]

    # -- means over languages ----------------------------------------------------------------------

    def level(self, name: Name, target: str, codes: Sequence[str], measure: str) -> Effect | None:
        """A measure of one row, the mean over languages: seeds and test items are its sources of
        chance, the languages stand for themselves (`analysis.effects` says how). None where it is
        not known of a language, or in no seed of all."""
        columns = [self._by_column.get((name, target, code), {}) for code in codes]
        seeds = sorted(set.intersection(*map(set, columns))) if columns else []
        cells = [[column[seed] for seed in seeds] for column in columns]
        if not seeds or any(measure not in cell.values for column in cells for cell in column):
            return None
        by_seed = np.mean([[cell.values[measure] for cell in column] for column in cells], axis=0)
        languages = [
            Contributions(
                column[0].ids,
                np.stack([cell.contributions[measure] for cell in column]) / len(cells),
            )
            for column in cells
        ]
        return effect(by_seed, item_strata(languages, parallel=task(target).parallel))

    def groups(self, target: str, column: str) -> Groups:
        """The languages of a target by a column of the language table."""
        groups: dict[str, list[str]] = {}
        for code in self.unseen(target):
            groups.setdefault(group_of(code, column), []).append(code)
        ordered = {name: tuple(groups[name]) for name in sorted(groups, key=_rank)}
        large = {
            name: codes
            for name, codes in ordered.items()
            if len(codes) >= LEAST_LANGUAGES and name != NOT_KNOWN
        }
        return Groups(large, {name: ordered[name] for name in ordered if name not in large})

    # -- along the distance ------------------------------------------------------------------------

    def correlation(self, name: Name, target: str, measure: str) -> Correlation | None:
        """Of a measure, its mean over seeds, with the distance to English; None of fewer than
        `LEAST_CORRELATED` languages. The interval is the percentile bootstrap's over languages."""
        points = []
        for code in self.unseen(target):
            cells = self._by_column.get((name, target, code), {}).values()
            each = [cell.values[measure] for cell in cells if measure in cell.values]
            if each and LANGUAGES[code].distance is not None:
                points.append((LANGUAGES[code].distance, float(np.mean(each))))
        if len(points) < LEAST_CORRELATED:
            return None
        distances, values = np.array(points).T[..., None]
        return Correlation(*spearman(distances, values, draws=DRAWS), len(points))


def _rank(group: str) -> tuple[int, str]:
    """A sorting key: bands by distance, everything else by alphabet."""
    return BANDS.index(group) if group in BANDS else 0, group
