"""The entries of a grid in one fixed order, whatever order they come in, and as a data frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from adapters_xitt.errors import XittError
from adapters_xitt.languages import language
from adapters_xitt.modules.methods import MODES
from adapters_xitt.study.results import STATUSES

# what makes an entry the only one
IDENTITY = ("method", "intermediate", "mode", "target", "language", "seed")
# Of a row's last module: the time to make it, a merge's distance from its sum, and from itself
# before it was cut.
MAKING = ("seconds", "merge_error", "merge_lost")
COLUMNS = (*IDENTITY, "status", "reason", "tag", "overlap", "key", "score", "examples")


def ordered(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries: methods, intermediates and targets as the recipe lists them, languages by
    family, then seeds.

    Raises a `XittError` where two entries claim one place."""
    recipe = grid["recipe"]
    method = _rank(
        [part if isinstance(part, str) else part["name"] for part in recipe.get("methods", ())]
    )
    named = [
        entry if isinstance(entry, str) else entry["name"]
        for entry in recipe.get("intermediates", ())
    ]
    named += recipe.get("compositions", ())
    intermediate, target = _rank(["", *named]), _rank(list(grid["headlines"]))
    mode = _rank(list(MODES))

    def order(entry: dict[str, Any]) -> tuple:
        return (
            method(entry["method"].partition("(")[0]),
            entry["method"],
            intermediate(entry["intermediate"]),
            mode(entry["mode"]),
            target(entry["target"]),
            family_first(entry["language"]),
            entry["seed"],
        )

    entries = sorted(grid["entries"], key=order)
    for first, second in zip(entries, entries[1:], strict=False):
        if order(first) == order(second):
            raise XittError(
                "the grid has two entries for one place: "
                + ", ".join(f"{name} {first[name]!r}" for name in IDENTITY)
            )
    return entries


def _rank(names: Sequence[str]) -> Callable[[str], tuple[int, str]]:
    """A sorting key: in the order of `names`, the others by alphabet after them."""
    ranks = {name: rank for rank, name in reversed(list(enumerate(names)))}
    return lambda name: (ranks.get(name, len(names)), name)


def family_first(code: str) -> tuple[str, str]:
    """A sorting key for languages: the family, then the code."""
    return language(code).family, code


def score_names(grid: dict[str, Any]) -> tuple[str, ...]:
    """Every score that some entry has, by alphabet."""
    return tuple(sorted({name for entry in grid["entries"] for name in entry["scores"]}))


def frame(grid: dict[str, Any]) -> pd.DataFrame:
    """One row per entry in the fixed order: its fields, `score.NAME` of every score, the language's
    family and script.

    A score that is not there is NaN."""
    names = score_names(grid)
    rows = [
        {
            **{name: entry[name] for name in COLUMNS},
            **{f"score.{name}": entry["scores"].get(name) for name in names},
            **{name: entry.get(name) for name in MAKING},
            "family": language(entry["language"]).family,
            "script": language(entry["language"]).script,
        }
        for entry in ordered(grid)
    ]
    data = pd.DataFrame(
        rows, columns=[*COLUMNS, *(f"score.{name}" for name in names), *MAKING, "family", "script"]
    )
    numbers = ["score", "overlap", *MAKING, *(f"score.{name}" for name in names)]
    return data.astype({**dict.fromkeys(numbers, "float64"), "seed": "int64", "examples": "int64"})


def counts(grid: dict[str, Any]) -> dict[str, int]:
    """How many entries have each status; statuses that none has are left out."""
    numbers = Counter(entry["status"] for entry in grid["entries"])
    return {status: numbers[status] for status in STATUSES if numbers[status]}
