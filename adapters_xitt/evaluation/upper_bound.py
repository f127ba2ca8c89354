"""What question answering can score at best: gold spans encoded and decoded again, and why some do
not come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.data.features import Features, Lengths
from adapters_xitt.kinds.decoding import decode
from adapters_xitt.kinds.qa import LONGEST
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.metrics.answers import normalize
from adapters_xitt.tasks import Task
from adapters_xitt.tasks.kinds import Examples

BACK = "comes back"
NORMALISED = "comes back but for articles, case, punctuation"
INSIDE = "boundary inside a token"
LONG = f"longer than {LONGEST} tokens"
CUT = "cut by the window that has most of its context"
REASONS = (BACK, NORMALISED, INSIDE, LONG, CUT)


@dataclass(frozen=True)
class UpperBound:
    """Questions of a test by what becomes of their first gold answer, and the scores of gold spans
    in percent."""

    counts: Mapping[str, int]
    scores: Mapping[str, float]


def golden(features: Features) -> list[NDArray]:
    """The logits [2, tokens] of a head that points at the gold span of every window."""
    columns = (features.columns[name] for name in ("ids", "start", "end"))
    outputs = []
    for ids, start, end in zip(*columns, strict=True):
        logits = np.zeros((2, len(ids)), dtype=np.float32)
        logits[0, start] = logits[1, end] = 50.0
        outputs.append(logits)
    return outputs


def upper_bound(
    task: Task, language: str, examples: Examples, features: Features, lengths: Lengths
) -> UpperBound:
    """The upper bound of a test in one language. A span that comes back for none of the known
    reasons is a ValueError: the encoding or the decoding would be wrong."""
    decoded = decode(HeadOutputs(task, language, examples, features, golden(features)))
    counts: Counter[str] = Counter()
    for example, item, windows in zip(examples, decoded.items, features.of_examples(), strict=True):
        counts[_fate(example, item["text"], features, windows, lengths)] += 1
    return UpperBound({reason: counts[reason] for reason in REASONS}, decoded.scores)


def _fate(
    example: Mapping[str, Any],
    text: str,
    features: Features,
    windows: NDArray[np.int64],
    lengths: Lengths,
) -> str:
    """What becomes of the first gold answer of a question whose windows are these features."""
    if not example["answers"]:
        return BACK  # nothing to point at
    answer = example["answers"][0]
    if text == answer["text"]:
        return BACK
    if normalize(text) == normalize(answer["text"]):
        return NORMALISED
    first, end = answer["start"], answer["start"] + len(answer["text"])
    columns = features.columns
    spans = np.concatenate([columns["offsets"][window] for window in windows])
    begins, ends = (set(side.tolist()) for side in spans[spans[:, 0] >= 0].T)
    if first not in begins or end not in ends:
        return INSIDE
    whole = [window for window in windows if columns["end"][window] > 0]
    sizes = [columns["end"][window] - columns["start"][window] + 1 for window in whole]
    size = max(sizes, default=LONGEST + 1)
    if size > LONGEST:
        return LONG
    # A start counts only in the window that gives it most context. That window may cut the answer
    # where the answer is longer than half of what two windows share.
    opened = [columns["open"][window][columns["start"][window]] for window in whole]
    overlap = lengths.max_length - 4 - lengths.question - lengths.stride  # at the longest question
    if size > overlap // 2 and not any(opened):
        return CUT
    raise ValueError(
        f"question {example['id']}: {answer['text']!r} came back as {text!r}, for no known reason"
    )
