"""What a recipe reads: its encoder, rows and features, settings and lengths; each read once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from adapters_xitt import demo, hashing, stopping
from adapters_xitt.data import truncation
from adapters_xitt.data.contamination import Contamination
from adapters_xitt.data.dataset import Rows, sample
from adapters_xitt.data.exposure import DataSet
from adapters_xitt.data.features import Features, Lengths
from adapters_xitt.data.mixture import Mixture, Portion, texts_of
from adapters_xitt.errors import XittError
from adapters_xitt.evaluation import conventions
from adapters_xitt.kinds import KINDS, decoding
from adapters_xitt.model import pretrained
from adapters_xitt.study.encoding import Encoding
from adapters_xitt.study.recipe import Recipe
from adapters_xitt.study.store import Store
from adapters_xitt.tasks import Convention, Task, task
from adapters_xitt.training.memory import MemoryPlan
from adapters_xitt.training.sampler import Data
from adapters_xitt.training.settings import Settings

TRAINING = "in training"
CACHED = 20_000  # rows from which reading a file is quicker than tokenising again
SELECTION = 500  # selection examples read, where the recipe says nothing


class Inputs:
    """What a recipe reads: its encoder, rows and features, each read once."""

    def __init__(
        self, recipe: Recipe, root: Path | None, store: Store | None = None, *, weights: bool = True
    ) -> None:
        """Without `weights` an encoder's configuration and tokenizer are enough, which is all that
        planning reads."""
        self.recipe, self.store, self.weights = recipe, store, weights
        self.memory_plan = MemoryPlan()  # until the plan has decided
        self.sources = recipe.sources(root)
        self._rows: dict[tuple, Rows] = {}
        self._features: dict[tuple, Features] = {}
        self._examples: dict[tuple[Portion, Mixture], list[dict[str, Any]]] = {}
        self._data: dict[Mixture, list[Data]] = {}
        self._searched: dict[Mixture, tuple[list[dict[str, Any]], Features]] = {}
        self._sets: dict[str, DataSet] = {}
        self._tasks: dict[str, Task] = {}
        self.contamination = Contamination(self._compared)

    @cached_property
    def files(self) -> pretrained.EncoderFiles:
        """The encoder's files, inspected when they are first asked for."""
        return pretrained.inspect(self.recipe.encoder, weights=self.weights)

    @cached_property
    def tokenizer(self) -> Any:
        return pretrained.load_tokenizer(self.files)

    @cached_property
    def lm_head(self) -> str:
        """The digest of the checkpoint's head for masked language modelling; empty where it has
        none."""
        tensors = pretrained.read_lm_head(self.files)
        return hashing.tensors_digest(tensors) if tensors else ""

    def settings(self, mixture: Mixture) -> tuple[Settings, float | None]:
        """The settings of a mixture, and a learning rate over the method's. A single task's own
        part of the recipe counts; of several only the batch sizes and selections do, each for its
        own."""
        values = self.recipe.training.model_dump(exclude_none=True)
        if len(mixture.portions) == 1:
            part = self.recipe.part(mixture.portions[0].task)
            values |= part.training.model_dump(exclude_none=True)
        values |= self.recipe.own_training(mixture).model_dump(exclude_none=True)
        rate = values.pop("learning_rate", None)
        values.pop("selection_examples", None)
        if self.recipe.memory is not None:
            plan = self.memory_plan
            values |= {"tokens": plan.tokens, "optimizer": plan.optimizer}
        return Settings(**values), rate

    def _portion_setting(self, part: Portion, mixture: Mixture, name: str, default: Any) -> Any:
        """A field of training that each task of a mixture keeps for itself."""
        recipe = self.recipe
        task_training = recipe.part(part.task).training
        trainings = (recipe.own_training(mixture), task_training, recipe.training)
        values = (getattr(training, name) for training in trainings)
        return next((value for value in values if value is not None), default)

    def batch_size(self, part: Portion, mixture: Mixture) -> int:
        """Examples of a portion in each of its steps."""
        return self._portion_setting(part, mixture, "batch_size", Settings().batch_size)

    def steps(self, mixture: Mixture, settings: Settings) -> int:
        """The optimiser steps of a module trained on a mixture; none for the random one."""
        if not mixture.portions:
            return 0
        sizes = [len(self.examples(part, mixture)) for part in mixture.portions]
        batches = [self.batch_size(part, mixture) for part in mixture.portions]
        return settings.steps(mixture.epoch(sizes, batches))

    def task(self, name: str) -> Task:
        """A task with its labels, be they in its row or in its data."""
        if name not in self._tasks:
            self._tasks[name] = self.sources.with_labels(task(name))
        return self._tasks[name]

    def _with_labels(self, mixture: Mixture) -> Mixture:
        """A mixture whose portions have the labels that only their data knows."""

        def portion_with_labels(part: Portion) -> Portion:
            if not task(part.task).open or part.variant == "text":
                return part
            try:
                return replace(part, labels=self.task(part.task).labels)
            # a file is missing: the plan tells it with all that is, when it reads the rows
            except XittError:
                return part

        return replace(mixture, portions=tuple(map(portion_with_labels, mixture.portions)))

    def training_mixture(self, target: Task) -> Mixture:
        """What trains a target by itself."""
        portion = self.recipe.training_portion(target)
        return self._with_labels(Mixture(target.name, (portion,)))

    def with_sources(self, mixture: Mixture) -> Mixture:
        """A mixture with each of its tasks replaced by the one whose data trains it: itself where
        the recipe names its training split, whatever trains it as a target."""
        portions = tuple(
            part
            if self.recipe.part(part.task).train
            else replace(part, task=self.sources.training_task(task(part.task)))
            for part in mixture.portions
        )
        return self._with_labels(replace(mixture, portions=portions))

    def mixtures(self) -> list[Mixture]:
        """Everything that the recipe trains on: the targets' own data, then the intermediates' and
        the controls'."""
        targets = [task(name) for name in self.recipe.targets]
        trained = [self.training_mixture(target) for target in targets if target.trains]
        return [self.with_sources(mixture) for mixture in (*trained, *self.recipe.mixtures())]

    def lengths(self, name: str) -> Lengths:
        plain, _, variant = name.partition(":")
        kind = "mlm" if variant else task(plain).kind
        merged = {
            **KINDS[kind].lengths.record(),
            **({} if variant else task(plain).lengths),
            **self.recipe.lengths.model_dump(exclude_none=True),
            **self.recipe.part(plain).lengths.model_dump(exclude_none=True),
        }
        merged["max_length"] = min(merged["max_length"], self.files.positions)
        merged["question"] = min(merged["question"], merged["max_length"] // 2)
        return Lengths(**merged)

    def _read(self, key: tuple, read: Callable[[], Rows]) -> Rows:
        """Rows that are read once; `key` says which."""
        if key not in self._rows:
            stopping.check()
            self._rows[key] = read()
        return self._rows[key]

    def train(self, part: Portion, mixture: Mixture) -> list[Rows]:
        """The training rows of a portion as they are on file, one entry per language."""
        most = part.examples or self.recipe.part(part.task).examples
        each = most and max(most // len(part.languages), 1)
        source = task(part.task)
        splits = [
            self._read(
                ("train", part.task, language, each),
                partial(self.sources.train, source, language, most=each),
            )
            for language in part.languages
        ]
        if mixture.languages != "even":
            return splits
        least = min(len(rows.rows) for rows in splits)
        return [
            rows if len(rows.rows) == least else rows.only(sample(list(rows.rows), least))
            for rows in splits
        ]

    def selection(self, part: Portion, mixture: Mixture) -> list[Rows]:
        """The rows that pick the best step, in the languages of training."""
        most = self._portion_setting(part, mixture, "selection_examples", SELECTION)
        each = max(most // len(part.languages), 1)
        source = task(part.task)
        return [
            self._read(
                ("selection", part.task, language, each),
                partial(self.sources.select, source, language, most=each),
            )
            for language in part.languages
        ]

    def examples(self, part: Portion, mixture: Mixture) -> list[dict[str, Any]]:
        """The training examples of a portion as they are trained: all languages, its variant
        applied."""
        if (part, mixture) not in self._examples:
            self._examples[part, mixture] = _vary(part, self.train(part, mixture))
        return self._examples[part, mixture]

    def selected(self, part: Portion, mixture: Mixture) -> list[dict[str, Any]]:
        """The selection examples of a portion, its variant applied."""
        return _vary(part, self.selection(part, mixture))

    def chance(self, mixture: Mixture) -> float | None:
        """The selection score of always saying the commonest label, over a mixture's tasks; None
        where one has none."""
        scores = []
        for part in mixture.portions:
            examples, selected = self.examples(part, mixture), self.selected(part, mixture)
            score = decoding.majority(part.record, examples, selected)
            if score is None:
                return None
            scores.append(score)
        return sum(scores) / len(scores) if scores else None

    def searched(self, mixture: Mixture) -> tuple[list[dict[str, Any]], Features]:
        """The selection examples of a mixture of one portion, and their features."""
        if mixture not in self._searched:
            (part,) = mixture.portions
            examples = self.selected(part, mixture)
            features = self._portion_features(part, self.selection(part, mixture), examples)
            self._searched[mixture] = examples, features
        return self._searched[mixture]

    def data(self, mixture: Mixture) -> list[Data]:
        """What a cohort of a mixture reads: a portion each, with its share of the steps."""
        if mixture not in self._data:
            sizes = [len(self.examples(part, mixture)) for part in mixture.portions]
            shares = mixture.probabilities(sizes)
            self._data[mixture] = [
                self._portion_data(part, mixture, share)
                for part, share in zip(mixture.portions, shares, strict=True)
            ]
        return self._data[mixture]

    def _portion_data(self, part: Portion, mixture: Mixture, share: float) -> Data:
        """What a cohort reads of one portion."""
        examples, selected = self.examples(part, mixture), self.selected(part, mixture)
        return Data(
            name=part.text,
            task=part.record,
            train=self._portion_features(part, self.train(part, mixture), examples),
            selection=self._portion_features(part, self.selection(part, mixture), selected),
            selection_rows=selected,
            batch_size=self.batch_size(part, mixture),
            share=share,
            language=part.languages[0],
        )

    def _portion_features(
        self, part: Portion, splits: Sequence[Rows], examples: Sequence[dict[str, Any]]
    ) -> Features:
        """The encoded examples of a portion, made of the rows of `splits`: once for all mixtures
        that have it."""
        key = (part.record.name, part.variant, part.labels, *(rows.digest for rows in splits))
        if key not in self._features:
            self._features[key] = self._encode(part.record, examples)
        return self._features[key]

    def test(self, name: str, language: str) -> Rows:
        return self._read(("test", name, language), lambda: self.sources.test(task(name), language))

    def fit(self, name: str, language: str) -> Rows | None:
        """The rows that fit a threshold of a test, where it has one."""
        target = task(name)
        if not target.fitted:
            return None
        return self._read(("fit", name, language), lambda: self.sources.fit(target, language))

    def tested(self, name: str, language: str) -> list[Rows]:
        """Everything that scoring a task in a language reads: the test, and what fits its
        threshold."""
        return [
            rows
            for rows in (self.test(name, language), self.fit(name, language))
            if rows is not None
        ]

    def skipped(self) -> list[str]:
        """A line for every file that has rows which can't be used."""
        return [
            f"{rows.file}: rows not used: "
            + ", ".join(f"{count} {reason}" for reason, count in rows.skipped.items())
            for rows in self._rows.values()
            if rows.skipped
        ]

    def truncated(self) -> list[str]:
        """A line for everything that the caps on lengths cut off from what was encoded so far."""
        lines = []
        for name in dict.fromkeys(key[0] for key in self._features):
            tests = [
                rows
                for (part, *_), rows in self._rows.items()
                if part not in ("train", "selection")
                and rows.task.name == name
                and _feature_key(rows) in self._features
            ]
            losses = {
                rows.language: KINDS[rows.task.kind].truncated(rows.rows, self.features(rows))
                for rows in tests
            }
            counts = {rows.language: len(rows.rows) for rows in tests}
            lines += truncation.lines(name, losses, counts)
        for mixture, data in self._data.items():
            for part, portion in zip(mixture.portions, data, strict=True):
                examples = self.examples(part, mixture)
                loss = KINDS[portion.task.kind].truncated(examples, portion.train)
                counts = {TRAINING: portion.train.examples}
                lines += truncation.lines(part.task, {TRAINING: loss}, counts)
        return list(dict.fromkeys(lines))

    def data_set(self, rows: Rows) -> DataSet:
        """The items and texts of `rows`."""
        if rows.digest not in self._sets:
            self._sets[rows.digest] = rows.data_set()
        return self._sets[rows.digest]

    def _compared(self, target: Task, language: str, split: str | None) -> Rows:
        """The rows that training data is compared with: a task's test, or a split of it."""
        if split is None:
            return self.test(target.name, language)
        return self._read(
            ("split", target.name, language, split),
            lambda: self.sources.whole(target, split, language),
        )

    def features(self, rows: Rows) -> Features:
        """The encoded rows of a test."""
        key = _feature_key(rows)
        if key not in self._features:
            self._features[key] = self._encode(rows.task, rows.rows)
        return self._features[key]

    def _encode(self, task: Task, examples: Sequence[dict[str, Any]]) -> Features:
        """Examples encoded for a task; a large split is kept beside the store."""
        encoding = Encoding(
            task, self.lengths(task.name), self.reading(task), self.files, self.tokenizer
        )
        if not self.store or not self.files.weights or len(examples) < CACHED:
            return encoding.encode(examples)
        return encoding.encode_once(examples, self.store)

    def layer(self, name: str) -> int:
        """The depth that a task reads."""
        part = self.recipe.part(name)
        return conventions.layer_of(
            task(name), self.files.layers, name=part.convention, layer=part.layer
        )

    def convention(self, name: str) -> str:
        """How a task is scored, where sources disagree."""
        part = self.recipe.part(name)
        return conventions.convention(
            task(name), self.files.layers, name=part.convention, layer=part.layer
        )

    def reading(self, read: Task) -> Convention:
        """The convention that a task is read by."""
        if KINDS[read.kind].masks:  # plain text is read in one way, whatever task it is of
            return read.reading()
        return read.reading(self.recipe.part(read.name).convention)

    def pooling(self, name: str) -> str:
        """How a retrieval task makes a vector of a sentence."""
        return self.reading(task(name)).pooling


def _vary(part: Portion, splits: Sequence[Rows]) -> list[dict[str, Any]]:
    """The examples of a portion, its variant applied."""
    examples = [example for rows in splits for example in rows.rows]
    if part.variant == "permuted":
        return KINDS[task(part.task).kind].permuted(examples, seed=len(examples))
    return texts_of(examples) if part.variant == "text" else examples


def _feature_key(rows: Rows) -> tuple:
    return rows.task.name, rows.language, rows.digest


def data_root(recipe: Recipe, store: Store) -> Path | None:
    """The data folder of a recipe; `demo` is written into the store once."""
    root = recipe.data.root or os.environ.get("XITT_DATA")
    if root != "demo":
        return Path(root) if root else None
    return store.cached_folder(store.root / "worlds" / f"demo-{demo.fingerprint()}", demo.write)
