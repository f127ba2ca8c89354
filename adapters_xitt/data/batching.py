"""Features to batches: the order of training examples, length-bucketed micro-batches, padding, and
the masks of masked language modelling."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.data.features import IGNORE, Features, Vocabulary

# Masked language modelling (BERT, RoBERTa): the share of the tokens that is guessed; of these, the
# share that is turned into `<mask>` and the share that is turned into a random token; the rest stay
# as they are.
MASKED, TO_MASK, TO_RANDOM = 0.15, 0.8, 0.1
# Decoding reads offsets, which count characters, from the features; what is lost no model reads.
UNREAD = ("offsets", "lost")


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Optimiser steps in one pass over the data; the last one may be smaller."""
    return -(-examples // batch_size)


def epoch_batches(
    lengths: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The examples of every optimiser step of one epoch, drawn without replacement.

    Shuffled, then sorted by length within pools of 32 steps so that a step's examples are of like
    length, then the steps are shuffled. `lengths` has one entry per example, in tokens."""
    random = np.random.default_rng([seed, epoch, len(lengths)])
    order = random.permutation(len(lengths))
    pool_size = 32 * batch_size
    batches: list[NDArray[np.int64]] = []
    for first in range(0, len(order), pool_size):
        pool = order[first : first + pool_size]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches.extend(pool[i : i + batch_size] for i in range(0, len(pool), batch_size))
    return [batches[i] for i in random.permutation(len(batches))]


def micro_batches(
    lengths: NDArray[np.int64],
    features: Sequence[int],
    tokens: int,
    *,
    bundles: NDArray[np.int64] | None = None,
) -> list[list[int]]:
    """`features` longest first, cut so that no micro-batch holds more than `tokens` tokens, padding
    included (a single feature may, or bundle: `Features.bundles`). Longest first: where memory is
    short, it is short at once."""
    together: dict[int, list[int]] = {}
    for feature in sorted(features):
        bundle = feature if bundles is None else int(bundles[feature])
        together.setdefault(bundle, []).append(feature)
    longest = {
        bundle: max(lengths[feature] for feature in members) for bundle, members in together.items()
    }
    order = sorted(together, key=lambda bundle: (-longest[bundle], together[bundle][0]))
    batches: list[list[int]] = []
    width = 0
    for bundle in order:
        members = together[bundle]
        if batches and (len(batches[-1]) + len(members)) * width <= tokens:
            batches[-1].extend(members)
        else:
            batches.append(members)
            width = longest[bundle]
    return batches


def collate(
    features: Features, chosen: Sequence[int], *, pad: int, seed: int | None = None
) -> dict[str, NDArray]:
    """The chosen features as arrays, [features] or [features, longest]; `mask` is 1 where there is
    a token. A column with a value per token is filled up with IGNORE, the ids with `pad`.

    What a kind draws anew is drawn from `seed` and the feature itself, whatever its companions;
    None is the drawing of every evaluation."""
    columns: dict[str, list[Any]] = {
        name: [column[feature] for feature in chosen]
        for name, column in features.columns.items()
        if name not in UNREAD
    }
    if features.vocabulary is not None:
        pairs = [mask_tokens(ids, features.vocabulary, seed=seed) for ids in columns["ids"]]
        columns["ids"] = [ids for ids, _ in pairs]
        columns["labels"] = [labels for _, labels in pairs]
        columns["weight"] = [int((labels != IGNORE).sum()) for labels in columns["labels"]]
    lengths = [len(ids) for ids in columns["ids"]]
    shape = (len(chosen), max(lengths))
    batch = {"mask": (np.arange(shape[1]) < np.array(lengths)[:, None]).astype(np.int64)}
    for name, column in columns.items():
        if np.ndim(column[0]):
            batch[name] = _padded(column, shape, pad if name == "ids" else IGNORE)
        else:
            batch[name] = _by_feature(column)
    return batch


def _by_feature(column: Sequence[float]) -> NDArray:
    """A number of each feature; those of a column with fractions keep them, as float32."""
    values = np.array(column)
    return values.astype(np.float32 if values.dtype.kind == "f" else np.int64)


def _padded(column: Sequence[Sequence[int]], shape: tuple[int, int], fill: int) -> NDArray:
    """Values per token [features, longest], filled up at the end."""
    padded = np.full(shape, fill, dtype=np.int64)
    for index, values in enumerate(column):
        padded[index, : len(values)] = values
    return padded


def mask_tokens(
    ids: Sequence[int], words: Vocabulary, *, seed: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids with some turned to `<mask>` or a random token, and the labels: the true token where
    one is guessed, else IGNORE. At least one token is guessed where one is not special."""
    tokens = np.array(ids, dtype="<i8")
    own_seed = int.from_bytes(hashlib.sha256(tokens.tobytes()).digest()[:8], "big")
    random = np.random.default_rng([own_seed] if seed is None else [own_seed, seed + 1])
    free = np.flatnonzero(~np.isin(tokens, words.special))
    guessed = free[random.random(len(free)) < MASKED]
    if len(free) and not len(guessed):
        guessed = free[[random.integers(len(free))]]
    labels = np.full(len(tokens), IGNORE, dtype=np.int64)
    labels[guessed] = tokens[guessed]
    fate = random.random(len(guessed))
    tokens[guessed[fate < TO_MASK]] = words.mask
    to_random = guessed[fate >= 1 - TO_RANDOM]
    tokens[to_random] = words.draw(len(to_random), random)
    return tokens, labels
