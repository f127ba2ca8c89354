"""What a cohort reads, step by step: each step's examples from the seed and the step's number
alone, so that grouping, stopping and resuming keep the bits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from adapters_xitt.data.batching import collate, epoch_batches, micro_batches, steps_per_epoch
from adapters_xitt.data.features import Features
from adapters_xitt.data.mixture import schedule, space
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
        return space(self.task)


class Batch(NamedTuple):
    """What one optimiser step reads, in micro-batches: column → [features, length] each, of arrays,
    and of tensors once a loader gave it."""

    portion: int  # whose turn it is, by its place in the data
    micro_batches: list[dict[str, Any]]
    weight: int  # of the whole: the loss's denominator
    tokens: int  # padding left out


def derive(seed: int, *purpose: Any) -> int:
    """A 63-bit seed for one purpose, from the recipe's seed."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class StepBatches(Dataset):
    """The batch of every step, by the step's number; one portion a step. `tokens`: the most that a
    micro-batch may hold, padding included; `pad`: the id of padding."""

    def __init__(
        self, data: Sequence[Data], *, tokens: int, seed: int, steps: int, pad: int
    ) -> None:
        self.tokens, self.seed, self.pad = tokens, seed, pad
        self.portions = [_Portion(portion, seed) for portion in data]
        self.turns = schedule([portion.share for portion in data], steps)
        # How many steps of its own portion came before each step.
        self.steps_before = np.zeros(steps, dtype=np.int64)
        for index in range(len(data)):
            turns = self.turns == index
            self.steps_before[turns] = np.arange(turns.sum())

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, step: int) -> Batch:
        index = int(self.turns[step])
        portion = self.portions[index]
        features = portion.features_of(int(self.steps_before[step]))
        masks = derive(self.seed, "mask", portion.data.task.name, step)
        arrays = [
            {
                **collate(portion.data.train, chosen, pad=self.pad, seed=masks),
                "feature": np.array(chosen),
            }
            for chosen in micro_batches(
                portion.feature_lengths, features, self.tokens, bundles=portion.bundles
            )
        ]
        weight = sum(batch["weight"].sum() for batch in arrays)
        tokens = sum(batch["mask"].sum() for batch in arrays)
        return Batch(index, arrays, int(weight), int(tokens))

    def halve(self) -> None:
        """Micro-batches of half the tokens from now on."""
        longest = max(int(portion.feature_lengths.max()) for portion in self.portions)
        if self.tokens <= longest:
            raise XittError(
                f"out of memory with one sequence of {longest} tokens; name the memory there is in "
                "the recipe (memory: 4GiB), or a smaller lengths.max_length"
            )
        self.tokens = max(self.tokens // 2, longest)


class _Portion:
    """The order of one portion's examples, from (seed, epoch) alone."""

    def __init__(self, data: Data, seed: int) -> None:
        self.data, self.seed = data, seed
        train = data.train
        self.features = train.of_examples()
        self.feature_lengths, self.bundles = train.lengths, train.bundles()
        sums = np.bincount(train.columns["example"], self.feature_lengths, train.examples)
        self.lengths = sums.astype(np.int64)  # of each example, over its features
        self.per_epoch = steps_per_epoch(data.train.examples, data.batch_size)
        self.epoch = -1
        self.batches: list[Any] = []  # of the epoch: the numbers of each batch's examples

    def features_of(self, step: int) -> list[int]:
        """The features of the portion's step number `step`."""
        epoch = step // self.per_epoch
        if epoch != self.epoch:
            self.batches = epoch_batches(
                self.lengths, self.data.batch_size, seed=derive(self.seed, "order"), epoch=epoch
            )
            self.epoch = epoch
        return [
            feature
            for example in self.batches[step % self.per_epoch]
            for feature in self.features[example]
        ]
