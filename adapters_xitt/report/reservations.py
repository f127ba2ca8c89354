"""What a reader must hold against a grid's numbers: what the encoder itself had seen, and which
rows learned nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapters_xitt.analysis import Learning, Reading, encoder_seen
from adapters_xitt.analysis.learned import LEARNED, MARGIN, NO_BASELINE, NO_ENGLISH
from adapters_xitt.text import printable

SEEN_BEFORE, UNLEARNED = "‡", "†"
MEANING_UNLEARNED = f"{UNLEARNED}: not learned; see Learned"

_STATES = {
    LEARNED: (
        "learned, by every row that isn't named above (in the language of training, the lower end"
        f" of every seed's 95 % interval over items is more than {MARGIN:g} points above the"
        " commonest label)"
    ),
    NO_BASELINE: "no baseline: no commonest label to be compared with",
    NO_ENGLISH: "no test in the language of training, and no selection split that tells",
}


def mark_of_target(grid: Mapping[str, Any], target: str) -> str:
    """The mark of a target that the encoder's own training had to do with."""
    return SEEN_BEFORE if encoder_seen(grid, target) else ""


def encoder_lines(grid: Mapping[str, Any], targets: Sequence[str]) -> list[str]:
    """What the encoder's own training had, and on which targets zero-shot therefore says less;
    nothing where nobody says it, or it had nothing."""
    seen = grid["encoder"].get("seen")
    if not seen:
        return []
    line = f"encoder {grid['encoder']['name']} has itself been trained on {_and(seen)} data"
    if source := grid["encoder"].get("seen_from"):
        line += f", says {printable(source, most=500)}"
    met = [target for target in targets if encoder_seen(grid, target)]
    if not met:
        return [f"{line}; no target here is of that sort"]
    return [
        f"{SEEN_BEFORE} {line}: on {_and(met)} zero-shot means only that no module saw the language"
    ]


def learned_lines(reading: Reading) -> list[str]:
    """Which rows didn't learn their target, which targets were learned, and what can't be
    judged."""
    lines: list[str] = []
    alone = len(reading.methods) == 1
    others: dict[str, dict[str, None]] = {}
    for (name, target), learned in reading.learning.items():
        if learned.failed:
            lines.append(_not_learned(name[1:] if alone else name, target, learned))
        else:
            others.setdefault(learned.status, {})[target] = None
    return lines + [f"{_STATES[state]}: {', '.join(targets)}" for state, targets in others.items()]


def _not_learned(name: Sequence[str], target: str, learned: Learning) -> str:
    """`name`: the method, where there are several, the intermediate and the mode."""
    label = " ".join(part for part in name if part)
    tested = "English" if learned.on == "en" else learned.on
    return (
        f"not learned: {target}, {label}: {tested} {learned.score:.1f} (lowest bound"
        f" {learned.low:.1f}), commonest label {learned.baseline:.1f}"
    )


def _and(words: Iterable[str]) -> str:
    """Words in a list: "nli, qa and parallel"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
