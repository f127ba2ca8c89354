"""Small worlds of sentences with repeats, for mining: the same ones from the same seed on every
machine.

A world has a dev and a test split, each of two sides. A sentence is (id, text, vector);
translations have near vectors, and some sentences are repeated, with their vector, under another
id."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

WIDTH = 8


@dataclass(frozen=True)
class Split:
    """Two sides of (id, text, vector), and the true pairs (source id, target id)."""

    sides: tuple[list[tuple[str, str, list[float]]], list[tuple[str, str, list[float]]]]
    gold: list[tuple[str, str]]


def world(seed: int) -> dict[str, Split]:
    """The splits `dev` and `test` of a world."""
    draw = random.Random(seed)
    return {name: _split(draw) for name in ("dev", "test")}


def _split(draw: random.Random) -> Split:
    size, alone, noise = _below(draw, 6, 24), _below(draw, 2, 10), 0.1 + 0.4 * draw.random()
    concepts = [_vector(draw) for _ in range(size)]
    sides = tuple(_side(draw, code, concepts, alone, noise) for code in ("de", "en"))
    return Split(sides, [(f"de-{n}", f"en-{n}") for n in range(size)])


def _side(
    draw: random.Random, code: str, concepts: list[list[float]], alone: int, noise: float
) -> list[tuple[str, str, list[float]]]:
    """A sentence for every concept, in another order, then some without a partner; each may repeat
    another's text."""
    vectors = [
        [value + noise * other for value, other in zip(concept, _vector(draw), strict=True)]
        for concept in concepts
    ] + [_vector(draw) for _ in range(alone)]
    texts = [f"{code} sentence {n}" for n in range(len(vectors))]
    for n in range(len(texts)):
        if draw.random() < 0.12:
            other = _below(draw, 0, len(texts))
            texts[n], vectors[n] = texts[other], vectors[other]
    rows = [
        (f"{code}-{n}", text, vector)
        for n, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]
    return sorted(rows, key=lambda row: draw.random())


def _below(draw: random.Random, low: int, high: int) -> int:
    return low + int(draw.random() * (high - low))


def _vector(draw: random.Random) -> list[float]:
    """Of normal numbers around 0.2, by Box and Muller, so that most cosines are above 0."""
    return [
        0.2 + math.sqrt(-2 * math.log(1 - draw.random())) * math.cos(2 * math.pi * draw.random())
        for _ in range(WIDTH)
    ]
