"""What the caps on lengths cut off from rows: counted, and told in a line for each task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adapters_xitt.data.features import Features

END = "items lost their end"
LOST = {
    "choice": "items lost the start of their prompt or the end of a choice",
    "tagging": "words fit no window and were read as one piece or cut",
    "qa": "questions lost their end",
}
UNREACHABLE = "first answers that no window holds whole"


def losses(kind: str, rows: Sequence[Mapping[str, Any]], features: Features) -> dict[str, int]:
    """What encoding `rows` into `units` cut off: what it is → how many; empty where everything is
    read."""
    lost = features.columns["lost"]
    examples = {
        example for example, cut in zip(features.columns["example"], lost, strict=True) if cut
    }
    found = {LOST.get(kind, END): sum(lost) if kind == "tagging" else len(examples)}
    if kind == "qa":
        reached = {
            example
            for example, end in zip(
                features.columns["example"], features.columns["end"], strict=True
            )
            if end
        }
        found[UNREACHABLE] = sum(
            bool(row["answers"]) and n not in reached for n, row in enumerate(rows)
        )
    return {what: count for what, count in found.items() if count}


def told(
    name: str, by_part: Mapping[str, Mapping[str, int]], sizes: Mapping[str, int]
) -> list[str]:
    """A line for everything that the rows of a task lost; `by_part`: what was lost by language, or
    in training, `sizes` the examples there."""
    lines = []
    for what in dict.fromkeys(what for found in by_part.values() for what in found):
        counts = {part: found[what] for part, found in by_part.items() if found.get(what)}
        each = ", ".join(f"{part} {count:,}" for part, count in counts.items())
        lines.append(
            f"{name}: {sum(counts.values()):,} {what}, of {sum(sizes.values()):,} examples"
            f" ({each}); tasks.{name}.lengths sets the caps"
        )
    return lines
