"""Examples of any kind to features."""

from __future__ import annotations

from typing import Any

from adapters_xitt.data.features import Features, Lengths, joined, packed, vocabulary
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.kinds import Examples

# Examples encoded at once: what a tokenizer gives takes a hundred times what is kept of it.
AT_ONCE = 10_000


def encode(
    kind: str,
    examples: Examples,
    *,
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention | None = None,
) -> Features:
    """The features of `examples`; `tokenizer` is a fast tokenizer of the XLM-R layout, `reading`
    the convention they are read by, None for the default of their kind. A XittError where they lack
    a column of their kind."""
    record = KINDS[kind]
    reading = reading or record.facts.conventions[0]
    missing = [name for name in record.columns if examples and name not in examples[0]]
    if missing:
        raise XittError(
            f"kind {kind!r} reads {', '.join(record.columns)} of an example; it has no"
            f" {', '.join(missing)}"
        )
    columns = []
    step = AT_ONCE if record.by_example else max(len(examples), 1)
    for first in range(0, max(len(examples), 1), step):
        some = packed(record.encode(examples[first : first + step], tokenizer, lengths, reading))
        columns.append({**some, "example": some["example"] + first})
    return Features(
        joined(columns),
        len(examples),
        vocabulary(tokenizer) if record.masks else None,
        reading,
    )
