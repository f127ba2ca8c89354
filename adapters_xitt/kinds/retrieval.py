"""The translation of a sentence among many, by cosine; nothing is trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from adapters_xitt.data.features import Lengths, tokenize
from adapters_xitt.kinds import vectors
from adapters_xitt.kinds.nearest import nearest, unit_length
from adapters_xitt.kinds.record import Decoded, HeadOutputs, Kind
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.kinds import Examples

KEPT = 5  # neighbours kept with their cosines


def encode(
    examples: Examples, tokenizer: Any, lengths: Lengths, reading: Convention
) -> dict[str, list]:
    """Both sides of every pair: features 0 … n-1 are the queries, n … 2n-1 the candidates."""
    queries = [example["query"] for example in examples]
    candidates = [example["candidate"] for example in examples]
    ids, lost = tokenize(queries + candidates, tokenizer, lengths.max_length)
    return {
        "ids": ids,
        "example": list(range(len(examples))) * 2,
        "weight": [1] * len(ids),
        "lost": lost,
    }


def decode(test: HeadOutputs) -> Decoded:
    """For every query the candidate of greatest cosine; the cosines of the nearest are kept."""
    embeddings, count = unit_length(np.stack(test.outputs)), len(test.examples)
    cosines, neighbours = nearest(embeddings[:count], embeddings[count:], KEPT)
    predicted = neighbours[:, 0].tolist()
    gold = [example["gold"] for example in test.examples]
    items = [
        {"id": example["id"], "index": index, "gold": example["gold"]}
        for example, index in zip(test.examples, predicted, strict=True)
    ]
    arrays = {"neighbours": neighbours.numpy(), "cosines": cosines.numpy()}
    return Decoded(items, arrays, predicted, gold)


KIND = Kind(
    name="retrieval",
    columns=("query", "candidate"),
    lengths=Lengths(512),
    encode=encode,
    head=vectors.head,
    size=vectors.size,
    predict=vectors.predict,
    decode=decode,
    scoring="cosine",
    by_example=False,
)
