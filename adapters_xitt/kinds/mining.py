"""Translations hidden in two collections of sentences, mined by ratio margin; nothing is trained,
but a threshold is fitted on another split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from adapters_xitt.data.exposure import item_id, raw_id
from adapters_xitt.data.features import Lengths
from adapters_xitt.kinds import vectors
from adapters_xitt.kinds.nearest import both_ways
from adapters_xitt.kinds.record import Decoded, HeadOutputs, Kind
from adapters_xitt.metrics.mining import Neighbours, above, fit_threshold, mine

NEIGHBOURS = 4  # that a margin is measured against (XTREME)
Pair = tuple[str, str]


def decode(test: HeadOutputs) -> Decoded:
    """The pairs above the threshold that is best on the split it is fitted on; their margins are
    kept."""
    if test.fit is None:
        raise ValueError(f"task {test.task.name}: mining fits its threshold on another split")
    pairs, margins, gold = mined(test)
    threshold = fit_threshold(*mined(test.fit))
    kept = above(pairs, margins, threshold)
    items = [
        {"id": item_id(test.task, test.language, source), "target": target}
        for source, target in kept
    ]
    arrays = {
        "margins": np.array([margin for margin in margins if margin >= threshold]),
        "threshold": np.array([threshold]),
    }
    return Decoded(items, arrays, kept, gold)


def mined(test: HeadOutputs) -> tuple[list[Pair], list[float], list[Pair]]:
    """Mined pairs of ids, their margins, and the gold pairs.

    As XTREME's code does it: a sentence that is repeated is mined once, and a pair that it is in is
    then deleted, since it has no one id (`mine_bitext` and `read_sent2id` in
    third_party/utils_retrieve.py)."""
    ids = [raw_id(test.task, test.language, example["id"]) for example in test.examples]
    texts = [example["text"] for example in test.examples]
    queries, candidates, embeddings = vectors.sides(test)
    gold = [(ids[index], target) for index in queries for target in test.examples[index]["gold"]]
    repeated_queries, repeated_candidates = _repeated(texts, queries), _repeated(texts, candidates)
    queries, candidates = _firsts(texts, queries), _firsts(texts, candidates)
    forward, backward = both_ways(embeddings[queries], embeddings[candidates], NEIGHBOURS)
    pairs, scores = mine(
        Neighbours(forward[0].numpy(), forward[1].numpy()),
        Neighbours(backward[0].numpy(), backward[1].numpy()),
    )
    kept, margins = [], []
    for (query, candidate), margin in zip(pairs, scores.tolist(), strict=True):
        source, target = queries[query], candidates[candidate]
        if texts[source] not in repeated_queries and texts[target] not in repeated_candidates:
            kept.append((ids[source], ids[target]))
            margins.append(margin)
    return kept, margins, gold


def _repeated(texts: Sequence[str], side: Sequence[int]) -> set[str]:
    """The texts that a side has more than once."""
    counts = Counter(texts[index] for index in side)
    return {text for text, count in counts.items() if count > 1}


def _firsts(texts: Sequence[str], side: Sequence[int]) -> list[int]:
    """Each text of a side by its first index, in the order in which the last of each stand."""
    first = {texts[index]: index for index in reversed(side)}
    return list(first.values())[::-1]


KIND = Kind(
    name="mining",
    columns=("text",),
    lengths=Lengths(512),
    encode=vectors.encode_sides,
    head=vectors.head,
    size=vectors.size,
    predict=vectors.predict,
    decode=decode,
    scoring="ratio to 4 neighbours, threshold of dev",
)
