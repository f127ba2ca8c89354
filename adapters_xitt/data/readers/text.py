"""Plain text: {id, group, text}, one a line."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from adapters_xitt.data.readers.base import Reading
from adapters_xitt.errors import DataError
from adapters_xitt.text_files import lines_of


def text_lines(path: Path, *, split: str, column: int | None = None) -> Reading:
    """One text a line, or in the tab-separated `column` of every line, counted from 0; blank ones
    are skipped."""
    examples: list[dict[str, Any]] = []
    skipped: Counter[str] = Counter()
    for n, line in enumerate(lines_of(path)):
        text = line
        if column is not None:
            cells = line.split("\t")
            if line and not 0 <= column < len(cells):
                raise DataError(
                    f"{path}:{n + 1}: expected a column {column}, counted from 0, found"
                    f" {len(cells)} tab-separated columns"
                )
            text = cells[column] if line else ""
        if text.strip():
            examples.append({"id": f"{split}/{n}", "group": f"{split}/{n}", "text": text.strip()})
        else:
            skipped["blank line"] += 1
    if not examples:
        raise DataError(f"{path}: expected lines of text, found only blanks")
    return Reading(examples, dict(skipped))
