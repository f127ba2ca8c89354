"""One cell of a table: the arithmetic over seeds and languages, and what is said where something
is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from adapters_xitt.study.results import BLOCKED, DONE, FAILED, NOT_APPLICABLE

INCOMPLETE, NOT_ASKED = "incomplete", "not asked"
_WORST_FIRST = (FAILED, BLOCKED, NOT_APPLICABLE, NOT_ASKED)


@dataclass(frozen=True, kw_only=True)
class TableCell:
    """One row in one column, over seeds. Scores and differences are in the metric's own points."""

    status: str  # done | incomplete | blocked | not applicable | failed | not asked
    # over seeds, of the unweighted mean over languages (or targets, in an average)
    mean: float | None = None
    spread: float | None = None  # sample standard deviation over seeds; None for one seed
    # to `none`, seed by seed over the same languages; None unless both are complete
    difference: float | None = None
    difference_spread: float | None = None  # sample standard deviation of the seeds' differences
    seeds: tuple[int, ...] = ()  # counted
    languages: tuple[str, ...] = ()  # counted
    # what an incomplete cell lacks: "sw blocked", "de failed (seed 2)"
    missing: tuple[str, ...] = ()
    unlearned: bool = False  # whether the row didn't learn the target
    # whether a test finds the difference, with its p-value corrected over the table
    significant: bool = False
    tag: str = ""  # where the cell is one language: zero-shot | language-seen | task+language-seen

    @property
    def starred(self) -> bool:
        """Whether the number is over a part only."""
        return self.status == INCOMPLETE


@dataclass(frozen=True, eq=False)
class Block:
    """One row on one target; arrays of seeds × languages."""

    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    scores: np.ndarray  # NaN where not done
    status: np.ndarray  # "not asked" where there is no entry
    tags: np.ndarray

    def only(self, languages: Sequence[str]) -> Block:
        """The block over some of its languages."""
        indices = [self.languages.index(code) for code in languages]
        return Block(
            self.seeds,
            tuple(languages),
            self.scores[:, indices],
            self.status[:, indices],
            self.tags[:, indices],
        )

    @property
    def complete(self) -> bool:
        return self.status.size > 0 and bool((self.status == DONE).all())

    @property
    def by_seed(self) -> np.ndarray:
        """The unweighted mean over languages, a number per seed."""
        return self.scores.mean(axis=1)

    def gaps(self) -> tuple[str, ...]:
        """What is not done, a phrase per language and status."""
        phrases = []
        for index, code in enumerate(self.languages):
            for status in _WORST_FIRST:
                seeds = [
                    seed
                    for seed, state in zip(self.seeds, self.status[:, index], strict=True)
                    if state == status
                ]
                if seeds:
                    which = (
                        f" (seed {', '.join(map(str, seeds))})"
                        if len(seeds) < len(self.seeds)
                        else ""
                    )
                    phrases.append(f"{code} {status}{which}")
        return tuple(phrases)


def spread(values: np.ndarray) -> float | None:
    """The sample standard deviation; None for one value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def table_cell(block: Block, base: Block | None, *, tag: str = "") -> TableCell:
    """A block as one cell; `base` is the `none` row's block, None where there is nothing to
    compare with."""
    if not block.languages:
        return TableCell(status=NOT_ASKED, tag=tag)
    if not block.complete:
        return _incomplete(block, tag)
    per_seed = block.by_seed
    change = _change(block, base) if base is not None and base.complete else None
    return _done(per_seed, change, seeds=block.seeds, languages=block.languages, tag=tag)


def _change(block: Block, base: Block) -> np.ndarray | None:
    """The difference to `base` by seed, over the languages of both; None where there are none."""
    both = [code for code in block.languages if code in base.languages]
    return block.only(both).by_seed - base.only(both).by_seed if both else None


def _done(
    per_seed: np.ndarray,
    change: np.ndarray | None,
    *,
    seeds: tuple[int, ...],
    languages: tuple[str, ...] = (),
    tag: str = "",
) -> TableCell:
    return TableCell(
        status=DONE,
        mean=float(per_seed.mean()),
        spread=spread(per_seed),
        difference=None if change is None else float(change.mean()),
        difference_spread=None if change is None else spread(change),
        seeds=seeds,
        languages=languages,
        tag=tag,
    )


def _incomplete(block: Block, tag: str) -> TableCell:
    """What is there: the seeds that have anything, over the languages that all of those seeds
    have."""
    there = block.status == DONE
    seeds = there.any(axis=1)
    languages = (
        there[seeds].all(axis=0) if seeds.any() else np.zeros(len(block.languages), dtype=bool)
    )
    if not seeds.any():
        statuses = [status for status in _WORST_FIRST if (block.status == status).any()]
        return TableCell(
            status=statuses[0], missing=block.gaps() if len(statuses) > 1 else (), tag=tag
        )
    if not languages.any():
        return TableCell(status=INCOMPLETE, missing=block.gaps(), tag=tag)
    per_seed = block.scores[seeds][:, languages].mean(axis=1)
    return TableCell(
        status=INCOMPLETE,
        mean=float(per_seed.mean()),
        spread=spread(per_seed),
        missing=block.gaps(),
        tag=tag,
        seeds=tuple(seed for seed, use in zip(block.seeds, seeds, strict=True) if use),
        languages=tuple(code for code, use in zip(block.languages, languages, strict=True) if use),
    )


def average(
    cells: Mapping[str, TableCell], blocks: Mapping[str, Block], bases: Mapping[str, Block | None]
) -> TableCell:
    """The unweighted mean over targets, a number only where every target is complete."""
    open_ = {name: cell.status for name, cell in cells.items() if cell.status != DONE}
    if open_:
        same = len(open_) == len(cells) and len(set(open_.values())) == 1
        status = next(iter(open_.values())) if same else INCOMPLETE
        return TableCell(
            status=status, missing=tuple(f"{name} {state}" for name, state in open_.items())
        )
    per_seed = np.mean([blocks[name].by_seed for name in cells], axis=0)
    change = None
    if all(cell.difference is not None for cell in cells.values()):
        changes = [_change(blocks[name], base) for name, base in bases.items() if base is not None]
        change = np.mean([each for each in changes if each is not None], axis=0)
    return _done(per_seed, change, seeds=next(iter(blocks.values())).seeds)
