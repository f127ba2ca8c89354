"""What a recipe reads: its encoder, rows and units, settings and lengths; each read once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from adapters_xitt import demo, hashing, stopping
from adapters_xitt.data import features, mixture, truncation
from adapters_xitt.data.contamination import Contamination
from adapters_xitt.data.dataset import Rows, sample
from adapters_xitt.data.exposure import DataSet
from adapters_xitt.data.features import Features, Lengths
from adapters_xitt.data.mixture import Mixture, Portion
from adapters_xitt.errors import XittError
from adapters_xitt.evaluation import conventions
from adapters_xitt.kinds import KINDS, decoding, encoding
from adapters_xitt.model import pretrained
from adapters_xitt.study.recipe import Recipe
from adapters_xitt.study.results import versions
from adapters_xitt.study.store import Store
from adapters_xitt.tasks import Convention, Task, task
from adapters_xitt.training.loop import Settings
from adapters_xitt.training.memory import MemoryPlan
from adapters_xitt.training.sampler import Data

TRAINING = "in training"
TOKENISED_BY = ("adapters-xitt", "tokenizers", "transformers")
CACHED = 20_000  # rows from which reading Arrow is quicker than tokenising again
SELECTION = 500  # selection examples read, where the recipe says nothing


class Inputs:
    """What a recipe reads: its encoder, rows and units, each read once."""

    def __init__(
        self, recipe: Recipe, root: Path | None, store: Store | None = None, *, weights: bool = True
    ) -> None:
        """Without `weights` an encoder's configuration and tokenizer are enough, which is all that
        planning reads."""
        self.recipe, self.store, self.weights = recipe, store, weights
        self.means = MemoryPlan()  # until the plan has decided
        self.sources = recipe.sources(root)
        self._rows: dict[tuple, Rows] = {}
        self._units: dict[tuple, Features] = {}
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

    def settings(self, mixed: Mixture) -> tuple[Settings, float | None]:
        """The settings of a mixture, and a learning rate over the method's. A single task's own
        part of the recipe counts; of several only the batch sizes and selections do, each for its
        own."""
        merged = self.recipe.training.model_dump(exclude_none=True)
        if len(mixed.portions) == 1:
            merged |= self.recipe.part(mixed.portions[0].task).training.model_dump(
                exclude_none=True
            )
        merged |= self.recipe.own_training(mixed).model_dump(exclude_none=True)
        rate = merged.pop("learning_rate", None)
        merged.pop("selection_examples", None)
        if self.recipe.memory is not None:
            merged |= {"tokens": self.means.tokens, "optimizer": self.means.optimizer}
        return Settings(**merged), rate

    def _own(self, part: Portion, mixed: Mixture, field: str, default: Any) -> Any:
        """A field of training that each task of a mixture keeps for itself."""
        recipe = self.recipe
        found = (recipe.own_training(mixed), recipe.part(part.task).training, recipe.training)
        return next((value for one in found if (value := getattr(one, field)) is not None), default)

    def batch_size(self, part: Portion, mixed: Mixture) -> int:
        return self._own(part, mixed, "batch_size", Settings().batch_size)

    def steps(self, mixed: Mixture, settings: Settings) -> int:
        """The optimiser steps of a module trained on a mixture; none for the random one."""
        if not mixed.portions:
            return 0
        return settings.steps(
            mixed.epoch(
                [len(self.examples(part, mixed)) for part in mixed.portions],
                [self.batch_size(part, mixed) for part in mixed.portions],
            )
        )

    def task(self, name: str) -> Task:
        """A task with its labels, be they in its row or in its data."""
        if name not in self._tasks:
            self._tasks[name] = self.sources.labelled(task(name))
        return self._tasks[name]

    def labelled(self, mixed: Mixture) -> Mixture:
        """A mixture whose portions have the labels that only their data knows."""

        def own(part: Portion) -> Portion:
            if not task(part.task).open or part.variant == "text":
                return part
            try:
                return replace(part, labels=self.task(part.task).labels)
            # a file is missing: the plan tells it with all that is, when it reads the rows
            except XittError:
                return part

        return replace(mixed, portions=tuple(own(part) for part in mixed.portions))

    def training_mixture(self, target: Task) -> Mixture:
        """What trains a target by itself."""
        portion = self.recipe.training_portion(target)
        return self.labelled(Mixture(target.name, (portion,)))

    def with_sources(self, mixed: Mixture) -> Mixture:
        """A mixture with each of its tasks replaced by the one whose data trains it."""
        return self.labelled(
            replace(
                mixed,
                portions=tuple(
                    replace(part, task=self.sources.training_task(task(part.task)))
                    for part in mixed.portions
                ),
            )
        )

    def mixtures(self) -> list[Mixture]:
        """Everything that the recipe trains on: the targets' own data, then the intermediates' and
        the controls'."""
        targets = [
            self.training_mixture(task(name)) for name in self.recipe.targets if task(name).trains
        ]
        return [self.with_sources(mixed) for mixed in (*targets, *self.recipe.mixtures())]

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

    def _read(self, at: tuple, read: Callable[[], Rows]) -> Rows:
        if at not in self._rows:
            stopping.check()
            self._rows[at] = read()
        return self._rows[at]

    def train(self, part: Portion, mixed: Mixture) -> list[Rows]:
        """The training rows of a portion as they are on file, one entry per language."""
        most = part.examples or self.recipe.part(part.task).examples
        each = most and max(most // len(part.languages), 1)
        found = [
            self._read(
                ("train", part.task, language, each),
                lambda language=language: self.sources.train(task(part.task), language, most=each),
            )
            for language in part.languages
        ]
        if mixed.languages == "even":
            least = min(len(rows.rows) for rows in found)
            found = [
                rows if len(rows.rows) == least else rows.only(sample(list(rows.rows), least))
                for rows in found
            ]
        return found

    def selection(self, part: Portion, mixed: Mixture) -> list[Rows]:
        """The rows that pick the best step, in the languages of training."""
        most = max(
            self._own(part, mixed, "selection_examples", SELECTION) // len(part.languages), 1
        )
        return [
            self._read(
                ("selection", part.task, language, most),
                lambda language=language: self.sources.select(task(part.task), language, most=most),
            )
            for language in part.languages
        ]

    def examples(self, part: Portion, mixed: Mixture) -> list[dict[str, Any]]:
        """The training examples of a portion as they are trained: all languages, its variant
        applied."""
        if (part, mixed) not in self._examples:
            self._examples[part, mixed] = self._varied(
                part, [row for rows in self.train(part, mixed) for row in rows.rows]
            )
        return self._examples[part, mixed]

    def _varied(self, part: Portion, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if part.variant == "permuted":
            return KINDS[task(part.task).kind].permuted(rows, seed=len(rows))
        return mixture.texts_of(rows) if part.variant == "text" else rows

    def selected(self, part: Portion, mixed: Mixture) -> list[dict[str, Any]]:
        """The selection examples of a portion, its variant applied."""
        return self._varied(
            part, [row for rows in self.selection(part, mixed) for row in rows.rows]
        )

    def chance(self, mixed: Mixture) -> float | None:
        """The selection score of always saying the commonest label, over a mixture's tasks; None
        where one has none."""
        found = [
            decoding.majority(part.record, self.examples(part, mixed), self.selected(part, mixed))
            for part in mixed.portions
        ]
        return None if not found or None in found else sum(found) / len(found)

    def searched(self, mixed: Mixture) -> tuple[list[dict[str, Any]], Features]:
        """The selection examples of a mixture of one portion, and their units."""
        if mixed not in self._searched:
            (part,) = mixed.portions
            rows = self.selected(part, mixed)
            self._searched[mixed] = (
                rows,
                self._portion_units(part, self.selection(part, mixed), rows),
            )
        return self._searched[mixed]

    def data(self, mixed: Mixture) -> list[Data]:
        """What a cohort of a mixture reads: a portion each, with its share of the steps."""
        if mixed in self._data:
            return self._data[mixed]
        found = []
        sizes = [len(self.examples(part, mixed)) for part in mixed.portions]
        for part, share in zip(mixed.portions, mixed.probabilities(sizes), strict=True):
            examples, selected = self.examples(part, mixed), self.selected(part, mixed)
            found.append(
                Data(
                    part.text,
                    part.record,
                    self._portion_units(part, self.train(part, mixed), examples),
                    self._portion_units(part, self.selection(part, mixed), selected),
                    selected,
                    self.batch_size(part, mixed),
                    share,
                    part.languages[0],
                )
            )
        self._data[mixed] = found
        return found

    def _portion_units(
        self, part: Portion, files: Sequence[Rows], examples: Sequence[dict[str, Any]]
    ) -> Features:
        """The encoded examples of a portion, made of the rows of `files`: once for all mixtures
        that have it."""
        key = (part.record.name, part.variant, part.labels, *(rows.digest for rows in files))
        if key not in self._units:
            self._units[key] = self.encoded(part.record, examples)
        return self._units[key]

    def test(self, name: str, language: str) -> Rows:
        return self._read(("test", name, language), lambda: self.sources.test(task(name), language))

    def fit(self, name: str, language: str) -> Rows | None:
        """The rows that fit a threshold of a test, where it has one."""
        row = task(name)
        return (
            self._read(("fit", name, language), lambda: self.sources.fit(row, language))
            if row.fitted
            else None
        )

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
        for name in dict.fromkeys(at[0] for at in self._units):
            there = {
                rows.language: rows
                for rows in self._rows.values()
                if rows.task.name == name and (name, rows.language, rows.digest) in self._units
            }
            found = {
                code: KINDS[rows.task.kind].truncated(rows.rows, self.features(rows))
                for code, rows in there.items()
            }
            lines += truncation.lines(
                name, found, {code: len(rows.rows) for code, rows in there.items()}
            )
        for mixed, data in self._data.items():
            for part, one in zip(mixed.portions, data, strict=True):
                found = KINDS[one.task.kind].truncated(self.examples(part, mixed), one.train)
                lines += truncation.lines(
                    part.task, {TRAINING: found}, {TRAINING: one.train.examples}
                )
        return list(dict.fromkeys(lines))

    def data_set(self, rows: Rows) -> DataSet:
        """The items and texts of `rows`."""
        if rows.digest not in self._sets:
            self._sets[rows.digest] = rows.data_set()
        return self._sets[rows.digest]

    def _compared(self, row: Task, language: str, split: str | None) -> Rows:
        """The rows that training data is compared with: a task's test, or a split of it."""
        if split is None:
            return self.test(row.name, language)
        return self._read(
            ("split", row.name, language, split), lambda: self.sources.whole(row, split, language)
        )

    def features(self, rows: Rows) -> Features:
        """The encoded rows of a test."""
        at = (rows.task.name, rows.language, rows.digest)
        if at not in self._units:
            self._units[at] = self.encoded(rows.task, rows.rows)
        return self._units[at]

    def encoded(self, row: Task, rows: Sequence[dict[str, Any]]) -> Features:
        """Rows encoded for a task; a large split is kept as Arrow beside the store."""
        reading = self.reading(row)

        def encode() -> Features:
            return encoding.encode(
                row.kind,
                rows,
                tokenizer=self.tokenizer,
                lengths=self.lengths(row.name),
                reading=reading,
            )

        if not self.store or not self.files.weights or len(rows) < CACHED:
            return encode()
        made_with = {name: version for name, version in versions().items() if name in TOKENISED_BY}
        name = hashing.key(
            "tokens",
            {
                "rows": hashing.digest(list(rows)),
                "labels": row.labels,
                "encoder": self.files.fingerprint,
                "kind": row.kind,
                "lengths": KINDS[row.kind].caps(self.lengths(row.name)),
                "convention": reading.name,
                "versions": made_with,
            },
        )
        return self._cached(name, row.kind, encode, len(rows), reading)

    def _cached(
        self,
        name: str,
        kind: str,
        encode: Callable[[], Features],
        examples: int,
        reading: Convention,
    ) -> Features:
        from datasets import Dataset

        folder = self.store.cached_folder(
            self.store.root / "tokens" / name,
            lambda work: Dataset.from_dict(encode().columns).save_to_disk(work),
        )
        kept = Dataset.load_from_disk(str(folder))
        words = features.vocabulary(self.tokenizer) if KINDS[kind].masks else None
        return Features(
            {column: list(kept[column]) for column in kept.column_names}, examples, words, reading
        )

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

    def reading(self, row: Task) -> Convention:
        """The convention that a task is read by."""
        if KINDS[row.kind].masks:  # plain text is read in one way, whatever task it is of
            return row.reading()
        return row.reading(self.recipe.part(row.name).convention)

    def pooling(self, name: str) -> str:
        """How a retrieval task makes a vector of a sentence."""
        return self.reading(task(name)).pooling


def data_root(recipe: Recipe, store: Store) -> Path | None:
    """The data folder of a recipe; `demo` is written into the store once."""
    root = recipe.data.root or os.environ.get("XITT_DATA")
    if root != "demo":
        return Path(root) if root else None
    return store.cached_folder(store.root / "worlds" / f"demo-{demo.fingerprint()}", demo.write)
