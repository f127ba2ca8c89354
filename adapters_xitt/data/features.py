"""Encoded examples: the token sequences that the encoder reads, and what encoding them needs.

A feature is one sequence the encoder reads. A long text has several; each knows its example. How
the examples of a kind become features is said in its file in `kinds/`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.data.ragged import Ragged
from adapters_xitt.tasks import Convention

# Of every feature a number [features], or one or a pair for each of its tokens.
Column = NDArray[Any] | Ragged
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
    """Encoded examples: one entry per feature in every column, which may be made of lists: of a
    number each, or of one or a pair for each token. `weight` is what a feature counts in
    the loss's denominator, `lost` how much the caps cut off from it: of tagging the words that fit
    no window, else 1 where anything is cut.

    Features with a `vocabulary` are masked when they are collated: their labels and weights are
    known only then."""

    columns: Mapping[str, Any]  # of `Column`
    examples: int
    vocabulary: Vocabulary | None = None
    # the convention they were encoded under; None: their task's default
    reading: Convention | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", packed(self.columns))

    def __len__(self) -> int:
        return len(self.columns["ids"])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The tokens of every feature [features]."""
        return self.columns["ids"].lengths

    @cached_property
    def digest(self) -> str:
        """Of the tokens of every feature."""
        ids = self.columns["ids"]
        return hashlib.sha256(ids.ends.tobytes() + ids.values.tobytes()).hexdigest()

    def of_examples(self) -> list[NDArray[np.int64]]:
        """The features of every example."""
        owners = self.columns["example"]
        counts = np.bincount(owners, minlength=self.examples)
        return np.split(np.argsort(owners, kind="stable"), np.cumsum(counts)[:-1])

    def bundles(self) -> NDArray[np.int64]:
        """The bundle of every feature. Features of one bundle lie in one micro-batch: an item's
        choices, or a feature alone."""
        return np.array(
            self.columns["example"] if "choice" in self.columns else range(len(self)),
            dtype=np.int64,
        )


def joined(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The columns of several runs of examples as those of all of them."""
    return {
        name: Ragged.joined([part[name] for part in parts])
        if isinstance(column, Ragged)
        else np.concatenate([part[name] for part in parts])
        for name, column in parts[0].items()
    }


def packed(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Columns made of lists, as arrays."""
    return {
        name: column if isinstance(column, (np.ndarray, Ragged)) else _pack(column)
        for name, column in columns.items()
    }


def _pack(column: Sequence[Any]) -> Column:
    of_tokens = len(column) and np.ndim(column[0])
    return Ragged.of(column) if of_tokens else np.array(column, dtype=None if len(column) else int)


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
