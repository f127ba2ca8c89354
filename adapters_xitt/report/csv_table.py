"""The grid as CSV: one line per entry, every score a column, floats that read back to the same
bits."""

from __future__ import annotations

import csv
import io
from typing import Any

from adapters_xitt.analysis import encoder_seen, learning, ordered, score_names
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
# whether the row learned the target, and what of it the encoder's own training had
READ = ("learned", "encoder_seen")
NOT_STATED = "not stated"


def csv_text(grid: dict[str, Any]) -> str:
    """The entries in the fixed order; what is not there is empty."""
    names, learned = score_names(grid), learning(grid)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*FIELDS, *(f"score.{name}" for name in names), *ABOUT, *READ])
    for entry in ordered(grid):
        about = language(entry["language"])
        place = (entry["method"], entry["intermediate"], entry["mode"], entry["target"])
        reached, seen = learned.get(place), encoder_seen(grid, entry["target"])
        writer.writerow(
            [
                *(_plain(entry[name]) for name in FIELDS),
                *(_plain(entry["scores"].get(name)) for name in names),
                about.name,
                about.family,
                about.script,
                reached.status if reached else "",
                NOT_STATED if seen is None else " ".join(seen),
            ]
        )
    return text.getvalue()


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return repr(float(value)) if isinstance(value, float) else str(value)
