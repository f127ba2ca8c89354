"""What a recipe reads: its encoder, rows and units, settings and lengths; each read once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from adapters_xitt import batches, demo, digests, encoder, evaluate, lineage
from adapters_xitt.batches import Lengths, Units
from adapters_xitt.encoder import EncoderFiles
from adapters_xitt.lineage import DataSet
from adapters_xitt.recipe import Recipe
from adapters_xitt.sources import Rows
from adapters_xitt.store import Store
from adapters_xitt.tasks import task
from adapters_xitt.train import Settings

ENGLISH = "en"  # the language of training
CACHED = 20_000  # rows from which reading Arrow is quicker than tokenising again
SELECTION = 500  # selection examples read, where the recipe says nothing
DEFAULT_LENGTHS = {"pair": Lengths(128), "tagging": Lengths(128), "qa": Lengths(384, 128, 64),
                   "retrieval": Lengths(512), "choice": Lengths(128), "mlm": Lengths(128)}


class Material:
    """What a recipe reads: its encoder, rows and units, each read once."""

    def __init__(self, recipe: Recipe, root: Path | None, store: Store | None = None) -> None:
        self.recipe, self.store = recipe, store
        self.files = encoder.inspect(recipe.encoder)
        self.sources = recipe.sources(root)
        self._rows: dict[tuple, Rows] = {}
        self._units: dict[tuple, Units] = {}
        self._sets: dict[str, DataSet] = {}
        self._overlaps: dict[tuple, float] = {}

    @cached_property
    def tokenizer(self) -> Any:
        return encoder.load_tokenizer(self.files)

    def settings(self, name: str) -> tuple[Settings, float | None, int | None]:
        """The settings of a task, a learning rate over the method's, and how many selection examples are read."""
        merged = {**self.recipe.training.model_dump(exclude_none=True),
                  **self.recipe.part(name).training.model_dump(exclude_none=True)}
        rate, most = merged.pop("learning_rate", None), merged.pop("selection_examples", None)
        return Settings(**merged), rate, most

    def lengths(self, name: str) -> Lengths:
        base = DEFAULT_LENGTHS[task(name).kind].record()
        merged = {**base, **self.recipe.lengths.model_dump(exclude_none=True),
                  **self.recipe.part(name).lengths.model_dump(exclude_none=True)}
        merged["max_length"] = min(merged["max_length"], self.files.positions)
        merged["question"] = min(merged["question"], merged["max_length"] // 2)
        return Lengths(**merged)

    def _read(self, at: tuple, read: Callable[[], Rows]) -> Rows:
        if at not in self._rows:
            self._rows[at] = read()
        return self._rows[at]

    def train(self, name: str) -> Rows:
        return self._read(("train", name), lambda: self.sources.train(task(name), ENGLISH))

    def selection(self, name: str) -> Rows:
        most = self.settings(name)[2] or SELECTION
        return self._read(("selection", name), lambda: self.sources.select(task(name), ENGLISH, most=most))

    def test(self, name: str, language: str) -> Rows:
        return self._read(("test", name, language), lambda: self.sources.test(task(name), language))

    def skipped(self) -> list[str]:
        """A line for every file that has rows which can't be used."""
        return [f"{rows.file}: rows not used: "
                + ", ".join(f"{count} {reason}" for reason, count in rows.skipped.items())
                for rows in self._rows.values() if rows.skipped]

    def data_set(self, rows: Rows) -> DataSet:
        """The items and texts of `rows`."""
        if rows.digest not in self._sets:
            self._sets[rows.digest] = rows.data_set()
        return self._sets[rows.digest]

    def overlap(self, rows: Rows, seen: Sequence[DataSet]) -> float:
        """Share of `rows` with a text that stands in `seen`."""
        at = (rows.digest, *(data.digest for data in seen))
        if at not in self._overlaps:
            self._overlaps[at] = lineage.text_overlap(rows.rows, seen)
        return self._overlaps[at]

    def units(self, rows: Rows) -> Units:
        """The encoded rows."""
        at = (rows.task.name, rows.language, rows.digest)
        if at not in self._units:
            self._units[at] = self._cached(rows) if self.store and len(rows.rows) >= CACHED else self._encoded(rows)
        return self._units[at]

    def _encoded(self, rows: Rows) -> Units:
        return batches.encode(rows.task.kind, rows.rows, rows.task.labels, tokenizer=self.tokenizer,
                              lengths=self.lengths(rows.task.name))

    def _cached(self, rows: Rows) -> Units:
        """The units of a large split, kept as Arrow beside the store."""
        from datasets import Dataset

        lengths = self.lengths(rows.task.name)
        name = digests.key("tokens", {"rows": rows.digest, "encoder": self.files.fingerprint,
                                      "kind": rows.task.kind, "lengths": lengths.record()})
        folder = self.store.root / "tokens" / name
        if not folder.is_dir():
            with self.store.whole_folder(folder) as work:
                Dataset.from_dict(self._encoded(rows).columns).save_to_disk(work)
        kept = Dataset.load_from_disk(str(folder))
        return Units({column: list(kept[column]) for column in kept.column_names}, len(rows.rows))

    def layer(self, name: str) -> int:
        """The depth that a task reads."""
        return evaluate.layer_of(task(name), self.files.layers, self.recipe.part(name).layer)


def data_root(recipe: Recipe, store: Store) -> Path | None:
    """The data folder of a recipe; `demo` is written into the store once."""
    root = recipe.data.root or os.environ.get("XITT_DATA")
    if root != "demo":
        return Path(root) if root else None
    folder = store.root / "worlds" / f"demo-{demo.fingerprint()}"
    if not folder.is_dir():
        with store.whole_folder(folder) as work:
            demo.write(work)
    return folder
