"""The grid as tables: rows are (method, intermediate, mode), columns are targets or the languages
of one target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from adapters_xitt.analysis.frame import family_first, frame
from adapters_xitt.analysis.learned import Learning, learning
from adapters_xitt.analysis.table_cells import (
    INCOMPLETE,
    NOT_ASKED,
    Block,
    TableCell,
    average,
    table_cell,
)
from adapters_xitt.data.exposure import ZERO_SHOT
from adapters_xitt.errors import XittError, unknown
from adapters_xitt.study.results import DONE

EVERY = "all"  # all languages, the language of training included: XTREME's convention
TAGS = (ZERO_SHOT, EVERY)
TRAINED_IN = "en"  # never zero-shot where no entry of a target has a tag for it

Name = tuple[str, str, str]  # method, intermediate, mode


@dataclass(frozen=True)
class TableRow:
    """One row of a table."""

    method: str
    intermediate: str  # "" in the rows of `none`
    mode: str
    cells: Mapping[str, TableCell]  # by column
    average: TableCell | None = None  # over the columns, where they are targets and more than one
    # the intermediates of other rows of the very same cells, which this one stands for
    alike: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The intermediate, and how many others the row stands for."""
        return self.intermediate + (f" (+{len(self.alike)} alike)" if self.alike else "")

    @property
    def reference(self) -> bool:
        """Whether it is the row that a method's others are compared with."""
        return (self.intermediate, self.mode) == ("", "none")


@dataclass(frozen=True)
class Table:
    """Rows over columns, both in reading order."""

    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    # always saying the training data's commonest label, where there are labels
    majority: TableRow | None = None


class Reading:
    """A grid laid out once: a block of seeds × languages for every row and target."""

    def __init__(self, grid: dict[str, Any]) -> None:
        self.grid = grid
        self.frame = frame(grid)
        self.seeds = tuple(sorted(int(seed) for seed in self.frame["seed"].unique()))
        self.targets = tuple(
            dict.fromkeys(
                [name for name in grid["headlines"] if name in set(self.frame["target"])]
                + list(self.frame["target"])
            )
        )
        # each row, with the intermediates of others that are the very same cells
        self.alike: dict[Name, tuple[str, ...]] = _alike(self.frame)
        self.rows: tuple[Name, ...] = tuple(self.alike)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods, in the order of their rows."""
        return tuple(dict.fromkeys(method for method, _, _ in self.rows))

    @cached_property
    def languages(self) -> dict[str, tuple[str, ...]]:
        """The tested languages of each target, by family, then code."""
        return {
            target: tuple(sorted(part["language"].unique(), key=family_first))
            for target, part in self.frame.groupby("target", sort=False)
        }

    @cached_property
    def blocks(self) -> dict[tuple[Name, str], Block]:
        groups = {
            name: part
            for name, part in self.frame.groupby(
                ["method", "intermediate", "mode", "target"], sort=False
            )
        }
        return {
            (name, target): self._block(groups.get((*name, target)), target)
            for name in self.rows
            for target in self.targets
        }

    def _block(self, part: pd.DataFrame | None, target: str) -> Block:
        languages = self.languages[target]
        shape = (len(self.seeds), len(languages))
        scores, status, tags = (
            np.full(shape, np.nan),
            np.full(shape, NOT_ASKED, object),
            np.full(shape, "", object),
        )
        if part is not None:
            indices = (
                [self.seeds.index(seed) for seed in part["seed"]],
                [languages.index(code) for code in part["language"]],
            )
            scores[indices], status[indices], tags[indices] = (
                part["score"],
                part["status"],
                part["tag"],
            )
            scores[status != DONE] = np.nan
        return Block(self.seeds, languages, scores, status, tags)

    @staticmethod
    def _base(blocks: Mapping[tuple[Name, str], Block], name: Name, target: str) -> Block | None:
        """The block of the `none` row that `row` is compared with; None for `none` itself."""
        return None if name[1:] == ("", "none") else blocks.get(((name[0], "", "none"), target))

    def tag(self, name: Name, target: str, code: str) -> str:
        """The tag of a row on a language. A cell that was not scored has none of its own: it takes
        that of the method's `none` row, or else of the first row that has one."""
        for candidate in dict.fromkeys([name, (name[0], "", "none"), *self.rows]):
            block = self.blocks.get((candidate, target))
            tags = (
                [tag for tag in block.tags[:, block.languages.index(code)] if tag] if block else []
            )
            if tags:
                return next((tag for tag in tags if tag != ZERO_SHOT), ZERO_SHOT)
        return "" if code == TRAINED_IN else ZERO_SHOT

    @cached_property
    def learning(self) -> dict[tuple[Name, str], Learning]:
        """What each row learned of each target of which it has a score."""
        return {(place[:3], place[3]): each for place, each in learning(self.grid).items()}

    def _marked(self, cell: TableCell, name: Name, target: str) -> TableCell:
        """A cell that says whether its row learned the target."""
        learned = self.learning.get((name, target))
        return replace(cell, unlearned=True) if learned and learned.failed else cell

    @cached_property
    def _zero_shot(self) -> dict[tuple[Name, str], tuple[str, ...]]:
        return {
            (name, target): tuple(
                code for code in codes if self.tag(name, target, code) == ZERO_SHOT
            )
            for name in self.rows
            for target, codes in self.languages.items()
        }

    def table(self, tags: str = ZERO_SHOT) -> Table:
        """Rows × targets, each cell over the zero-shot languages only, or over all of them."""
        if tags not in TAGS:
            raise XittError(unknown("set of tags", tags, TAGS))
        blocks = self.blocks
        if tags == ZERO_SHOT:
            blocks = {key: block.only(self._zero_shot[key]) for key, block in self.blocks.items()}
        rows = []
        for name in self.rows:
            row_blocks = {target: blocks[name, target] for target in self.targets}
            bases = {target: self._base(blocks, name, target) for target in self.targets}
            cells = {
                target: self._marked(table_cell(row_blocks[target], bases[target]), name, target)
                for target in self.targets
            }
            rows.append(
                TableRow(
                    *name,
                    cells,
                    average(cells, row_blocks, bases) if len(self.targets) > 1 else None,
                    self.alike[name],
                )
            )
        return Table(self.targets, tuple(rows), self._majority(blocks))

    def by_language(self, target: str) -> Table:
        """Rows × the languages of one target, each cell over seeds, with its tag."""
        if target not in self.targets:
            raise XittError(unknown("target", target, self.targets))
        rows = []
        for name in self.rows:
            block, base = self.blocks[name, target], self._base(self.blocks, name, target)
            rows.append(
                TableRow(
                    *name,
                    {
                        code: self._marked(
                            table_cell(
                                block.only([code]),
                                base.only([code]) if base else None,
                                tag=self.tag(name, target, code),
                            ),
                            name,
                            target,
                        )
                        for code in block.languages
                    },
                    alike=self.alike[name],
                )
            )
        given = self.grid["majority"].get(target)
        majority = (
            _named(
                {
                    code: _sum([given[code]] if code in given else [], [code])
                    for code in self.languages[target]
                }
            )
            if given
            else None
        )
        return Table(self.languages[target], tuple(rows), majority)

    def _majority(self, blocks: Mapping[tuple[Name, str], Block]) -> TableRow | None:
        """The commonest label's scores over the languages that the rows of each target are averaged
        over."""
        if not self.grid["majority"]:
            return None
        cells = {}
        for target in self.targets:
            given = self.grid["majority"].get(target)
            codes = [
                code
                for code in self.languages[target]
                if any(code in blocks[name, target].languages for name in self.rows)
            ]
            cells[target] = (
                _sum([given[code] for code in codes if code in given], codes)
                if given
                else TableCell(status=NOT_ASKED)
            )
        return _named(cells)


def _alike(data: pd.DataFrame) -> dict[Name, tuple[str, ...]]:
    """The rows of a frame in its order, those of one mode whose cells are all the same as one: to
    train a target for longer is the same whatever intermediate took as many steps."""
    first: dict[tuple, Name] = {}
    rows: dict[Name, tuple[str, ...]] = {}
    for name, part in data.groupby(["method", "intermediate", "mode"], sort=False):
        cells = zip(part["target"], part["language"], part["seed"], part["key"], strict=True)
        same = (name[0], name[2], frozenset(cells))
        known = first.setdefault(same, name) if part["key"].any() else name
        rows[known] = () if known == name else (*rows[known], name[1])
    return rows


def _sum(scores: list[float], codes: list[str]) -> TableCell:
    """The mean of scores that no seed changes, over `codes`."""
    if not scores:
        return TableCell(status=NOT_ASKED)
    whole = len(scores) == len(codes)
    return TableCell(
        status=DONE if whole else INCOMPLETE,
        mean=float(np.mean(scores)),
        languages=tuple(codes) if whole else (),
        missing=() if whole else (f"{len(codes) - len(scores)} of {len(codes)} languages",),
    )


def _named(cells: Mapping[str, TableCell]) -> TableRow:
    return TableRow("majority class", "", "", cells)


def table(grid: dict[str, Any], tags: str = ZERO_SHOT) -> Table:
    """Rows × targets of a grid; `tags`: "zero-shot", or "all" for XTREME's average."""
    return Reading(grid).table(tags)


def by_language(grid: dict[str, Any], target: str) -> Table:
    """Rows × languages of one target of a grid."""
    return Reading(grid).by_language(target)
