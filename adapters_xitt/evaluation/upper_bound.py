"""What question answering can score at best: gold spans encoded and decoded again, and why some do
not come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.data.features import Features, Lengths
from adapters_xitt.kinds import decode
from adapters_xitt.kinds.decode import LONGEST
from adapters_xitt.metrics.qa import normalize
from adapters_xitt.tasks import Task

BACK = "comes back"
NORMALISED = "comes back but for articles, case, punctuation"
INSIDE = "boundary inside a token"
LONG = f"longer than {LONGEST} tokens"
CUT = "cut by the window that has most of its context"
REASONS = (BACK, NORMALISED, INSIDE, LONG, CUT)


@dataclass(frozen=True)
class Ceiling:
    """Questions of a test by what becomes of their first gold answer, and the scores of gold spans
    in percent."""

    counts: Mapping[str, int]
    scores: Mapping[str, float]


def golden(features: Features) -> list[NDArray]:
    """The logits [2, tokens] of a head that points at the gold span of every window."""
    said = []
    for ids, start, end in zip(
        *(features.columns[name] for name in ("ids", "start", "end")), strict=True
    ):
        logits = np.zeros((2, len(ids)), dtype=np.float32)
        logits[0, start] = logits[1, end] = 50.0
        said.append(logits)
    return said


def ceiling(
    task: Task,
    language: str,
    rows: Sequence[Mapping[str, Any]],
    features: Features,
    lengths: Lengths,
) -> Ceiling:
    """The ceiling of a test in one language. A span that comes back for none of the known reasons
    is a ValueError: the encoding or the decoding would be wrong."""
    found = decode.decode(decode.Said(task, language, rows, features, golden(features)))
    counts: Counter[str] = Counter()
    for row, item, own in zip(rows, found.items, features.of_examples(), strict=True):
        counts[_fate(row, item["text"], features, own, lengths)] += 1
    return Ceiling({reason: counts[reason] for reason in REASONS}, found.scores)


def _fate(
    row: Mapping[str, Any], text: str, features: Features, own: Sequence[int], lengths: Lengths
) -> str:
    if not row["answers"]:
        return BACK  # nothing to point at
    answer = row["answers"][0]
    if text == answer["text"]:
        return BACK
    if normalize(text) == normalize(answer["text"]):
        return NORMALISED
    first, last = answer["start"], answer["start"] + len(answer["text"])
    spans = {
        span
        for feature in own
        for span in map(tuple, features.columns["offsets"][feature])
        if span[0] >= 0
    }
    if not any(left == first for left, _ in spans) or not any(right == last for _, right in spans):
        return INSIDE
    whole = [feature for feature in own if features.columns["end"][feature] > 0]
    size = max(
        (
            features.columns["end"][feature] - features.columns["start"][feature] + 1
            for feature in whole
        ),
        default=LONGEST + 1,
    )
    if size > LONGEST:
        return LONG
    # A start counts only in the window that gives it most context. That window may cut the answer
    # where the answer is longer than half of what two windows share.
    opened = [
        features.columns["open"][feature][features.columns["start"][feature]] for feature in whole
    ]
    overlap = lengths.max_length - 4 - lengths.question - lengths.stride  # at the longest question
    if size > overlap // 2 and not any(opened):
        return CUT
    raise ValueError(
        f"question {row['id']}: {answer['text']!r} came back as {text!r}, for no known reason"
    )
