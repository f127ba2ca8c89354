"""What a cohort reads, step by step: each step's examples from the seed and the step's number
alone, so that grouping, stopping and resuming keep the bits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from adapters_xitt.data import mixture
from adapters_xitt.data.batching import (
    collate,
    epoch_batches,
    micro_batches,
    steps_per_epoch,
)
from adapters_xitt.data.features import Features
from adapters_xitt.errors import XittError
from adapters_xitt.tasks import Task


@dataclass(frozen=True)
class Data:
    """One portion of what a cohort reads: encoded training and selection rows of one task."""

    name: str  # the portion's text form
    task: Task
    train: Features
    selection: Features
    selection_rows: Sequence[dict] = field(repr=False)
    batch_size: int = 32
    share: float = 1.0  # of the optimiser steps
    language: str = "en"  # whose conventions score the selection rows: the first of the portion's

    @property
    def space(self) -> str:
        """The name of the head that it trains."""
        return mixture.space(self.task)


def derive(seed: int, *what: Any) -> int:
    """A 63-bit seed for one purpose, from the recipe's seed."""
    return int.from_bytes(hashlib.sha256(repr((seed, *what)).encode()).digest()[:8], "big") >> 1


class Stream:
    """The examples of every step, from the seed and the step's number alone; one portion a step."""

    def __init__(self, data: Sequence[Data], tokens: int, seed: int, total: int) -> None:
        self.budget, self.seed, self.tokens = tokens, seed, 0
        self.portions = [_Portion(one, seed) for one in data]
        self.turns = mixture.schedule([one.share for one in data], total)
        # How many steps of its own portion came before each step.
        self.places = np.zeros(total, dtype=np.int64)
        for at in range(len(data)):
            mine = self.turns == at
            self.places[mine] = np.arange(mine.sum())

    def halve(self) -> None:
        """Micro-batches of half the tokens from now on."""
        longest = max(int(portion.unit_lengths.max()) for portion in self.portions)
        if self.budget <= longest:
            raise XittError(
                f"out of memory with one sequence of {longest} tokens; name the memory there is in "
                "the recipe (memory: 4GiB), or a smaller lengths.max_length"
            )
        self.budget = max(self.budget // 2, longest)

    def step(self, step: int, pad: int) -> tuple[Data, list[dict[str, np.ndarray]], int]:
        """The portion whose turn it is, its micro-batches, and the weight of the whole: the loss's
        denominator."""
        portion = self.portions[self.turns[step]]
        features = portion.features_of(int(self.places[step]))
        drawn = derive(self.seed, "mask", portion.data.task.name, step)
        arrays = [
            collate(portion.data.train, chosen, pad=pad, seed=drawn)
            for chosen in micro_batches(
                portion.unit_lengths, features, self.budget, bundles=portion.bundles
            )
        ]
        self.tokens = int(sum(batch["mask"].sum() for batch in arrays))
        return portion.data, arrays, int(sum(batch["weight"].sum() for batch in arrays))


class _Portion:
    """The order of one portion's examples, from (seed, epoch) alone."""

    def __init__(self, data: Data, seed: int) -> None:
        self.data, self.seed = data, seed
        self.features = data.train.of_examples()
        self.unit_lengths, self.bundles = data.train.lengths, data.train.bundles()
        self.lengths = np.array([self.unit_lengths[features].sum() for features in self.features])
        self.per_epoch = steps_per_epoch(data.train.examples, data.batch_size)
        self.epoch, self.batches = -1, []

    def features_of(self, place: int) -> list[int]:
        """The units of the portion's step number `place`."""
        epoch = place // self.per_epoch
        if epoch != self.epoch:
            self.batches = epoch_batches(
                self.lengths, self.data.batch_size, seed=derive(self.seed, "order"), epoch=epoch
            )
            self.epoch = epoch
        return [
            feature
            for example in self.batches[place % self.per_epoch]
            for feature in self.features[example]
        ]
