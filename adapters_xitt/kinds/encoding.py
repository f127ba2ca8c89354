"""Examples of any kind to features."""

from __future__ import annotations

from typing import Any

from adapters_xitt.data.features import Features, Lengths, vocabulary
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.kinds import Examples


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
    return Features(
        record.encode(examples, tokenizer, lengths, reading),
        len(examples),
        vocabulary(tokenizer) if record.masks else None,
        reading,
    )
