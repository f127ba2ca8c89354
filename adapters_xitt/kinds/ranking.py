"""The right ones among many candidates, best first, by cosine; nothing is trained."""

from __future__ import annotations

from typing import Any

from adapters_xitt.data.exposure import raw_id
from adapters_xitt.data.features import Lengths, tokenize
from adapters_xitt.kinds import vectors
from adapters_xitt.kinds.nearest import nearest
from adapters_xitt.kinds.record import Decoded, HeadOutputs, Kind
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.kinds import Examples

RANKED = 20  # candidates that a query's ranking has: XTREME-R's metrics look no further


def encode(
    examples: Examples, tokenizer: Any, lengths: Lengths, reading: Convention
) -> dict[str, list]:
    """A feature per example: queries, and candidates, with their paragraphs where the convention
    says so. Then queries have a cap of their own."""
    if not reading.context:
        return vectors.encode_sides(examples, tokenizer, lengths, reading)
    ids: list[list[int]] = [[] for _ in examples]
    lost = [0] * len(examples)
    for side, cap in (("query", lengths.question), ("candidate", lengths.max_length)):
        chosen = [index for index, example in enumerate(examples) if example["side"] == side]
        texts = [
            (examples[index]["text"] + examples[index].get("context", "")).replace("\n", "").strip()
            for index in chosen
        ]
        sequences = zip(chosen, *tokenize(texts, tokenizer, cap), strict=True)
        for index, sequence, was_cut in sequences:
            ids[index], lost[index] = sequence, was_cut
    return {
        "ids": ids,
        "example": list(range(len(examples))),
        "weight": [1] * len(examples),
        "lost": lost,
    }


def decode(test: HeadOutputs) -> Decoded:
    """For every query the ids of the `RANKED` candidates of greatest cosine."""
    queries, candidates, embeddings = vectors.sides(test)
    cosines, neighbours = nearest(embeddings[queries], embeddings[candidates], RANKED)
    names = [raw_id(test.task, test.language, test.examples[index]["id"]) for index in candidates]
    rankings = [[names[index] for index in ranking] for ranking in neighbours.tolist()]
    gold = [test.examples[index]["gold"] for index in queries]
    items = [
        {"id": test.examples[index]["id"], "ids": ids, "gold": right}
        for index, ids, right in zip(queries, rankings, gold, strict=True)
    ]
    return Decoded(items, {"cosines": cosines.numpy()}, rankings, gold)


KIND = Kind(
    name="ranking",
    columns=("text", "side"),
    lengths=Lengths(512),
    encode=encode,
    head=vectors.head,
    size=vectors.size,
    predict=vectors.predict,
    decode=decode,
    scoring="cosine",
    note=(
        "XTREME-R trains an encoder of pairs for it; here the encoder and its modules are read as"
        " they are, so these numbers are not XTREME-R's"
    ),
)
