"""The grid as CSV: one line per entry, every score a column, floats that read back to the same
bits."""

from __future__ import annotations

import csv
import io
from typing import Any

from adapters_xitt.analysis import ordered, score_names
from adapters_xitt.languages import language

FIELDS = (
    "method",
    "intermediate",
    "mode",
    "target",
    "language",
    "seed",
    "status",
    "tag",
    "score",
    "examples",
    "overlap",
    "reason",
    "key",
)
ABOUT = ("language_name", "family", "script")


def csv_text(grid: dict[str, Any]) -> str:
    """The entries in the fixed order; what is not there is empty."""
    names = score_names(grid)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIELDS, *(f"score.{name}" for name in names), *ABOUT])
    for entry in ordered(grid):
        about = language(entry["language"])
        writer.writerow(
            [
                *(_plain(entry[name]) for name in FIELDS),
                *(_plain(entry["scores"].get(name)) for name in names),
                about.name,
                about.family,
                about.script,
            ]
        )
    return text.getvalue()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)
