"""Encoded examples: the token sequences that the encoder reads, and what encoding them needs.

A feature is one sequence the encoder reads. A long text has several; each knows its example. How
the examples of a kind become features is said in its file in `kinds/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.tasks import Convention

IGNORE = -100  # the label of a token that is not scored


@dataclass(frozen=True)
class Lengths:
    """Caps, in sub-word tokens. Question answering alone uses `stride`, the tokens from the start
    of one window to the start of the next (SQuAD's doc_stride), and `question`."""

    max_length: int = 128
    stride: int = 128
    question: int = 64

    def record(self) -> dict[str, int]:
        return {"max_length": self.max_length, "stride": self.stride, "question": self.question}


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer: how many tokens there are, and which are never
    guessed or drawn."""

    size: int
    mask: int
    special: tuple[int, ...]  # rising

    def draw(self, count: int, random: np.random.Generator) -> NDArray[np.int64]:
        """`count` tokens, every one that is not special as likely as any other."""
        tokens = random.integers(self.size - len(self.special), size=count)
        for special in self.special:
            tokens += tokens >= special
        return tokens


def vocabulary(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a tokenizer; `<unk>` is special too, as in transformers."""
    return Vocabulary(
        len(tokenizer), tokenizer.mask_token_id, tuple(sorted(set(tokenizer.all_special_ids)))
    )


@dataclass(frozen=True)
class Features:
    """Encoded examples: one entry per feature in every column. `weight` is what a feature counts in
    the loss's denominator, `lost` how much the caps cut off from it: of tagging the words that fit
    no window, else 1 where anything is cut.

    Features with a `vocabulary` are masked when they are collated: their labels and weights are
    known only then."""

    columns: dict[str, list]
    examples: int
    vocabulary: Vocabulary | None = None
    # the convention they were encoded under; None: their task's default
    reading: Convention | None = None

    def __len__(self) -> int:
        return len(self.columns["ids"])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The tokens of every feature [features]."""
        return np.array([len(ids) for ids in self.columns["ids"]], dtype=np.int64)

    def of_examples(self) -> list[list[int]]:
        """The features of every example."""
        features: list[list[int]] = [[] for _ in range(self.examples)]
        for feature, example in enumerate(self.columns["example"]):
            features[example].append(feature)
        return features

    def bundles(self) -> NDArray[np.int64]:
        """The bundle of every feature. Features of one bundle lie in one micro-batch: an item's
        choices, or a feature alone."""
        return np.array(
            self.columns["example"] if "choice" in self.columns else range(len(self)),
            dtype=np.int64,
        )


def tokenize(texts: Sequence[str], tokenizer: Any, cap: int) -> tuple[list[list[int]], list[int]]:
    """A sequence of at most `cap` tokens for every text, and 1 for each that lost its end."""
    if not texts:
        return [], []
    encoded = tokenizer(texts, truncation=True, max_length=cap)
    return encoded["input_ids"], cut_off(encoded, cap)


def cut_off(encoded: Any, cap: int) -> list[int]:
    """Of sequences as long as `cap`, 1 where the tokenizer cut something off; a shorter one is
    whole."""
    return [
        int(len(ids) >= cap and bool(encoded.encodings[index].overflowing))
        for index, ids in enumerate(encoded["input_ids"])
    ]
