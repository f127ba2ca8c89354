"""All that the stored predictions of a grid say: answers, controls, and the differences in tables
that a test finds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from adapters_xitt.analysis.calibration.summary import Calibration
from adapters_xitt.analysis.claims import Finding, claims
from adapters_xitt.analysis.comparison import Condition, Difference, compare
from adapters_xitt.analysis.consistency import consistency
from adapters_xitt.analysis.contrasts import RowName
from adapters_xitt.analysis.controls import NONE, Control, controls
from adapters_xitt.analysis.effects import LEVEL
from adapters_xitt.analysis.evidence import Evidence
from adapters_xitt.analysis.questions import Answer, answer, holm, subjects
from adapters_xitt.analysis.table_cells import TableCell
from adapters_xitt.analysis.tables import EVERY, Reading, Table, TableRow
from adapters_xitt.analysis.variance import variance
from adapters_xitt.data.exposure import ZERO_SHOT
from adapters_xitt.errors import XittError
from adapters_xitt.study.store import Store

if TYPE_CHECKING:
    from adapters_xitt.study.recipe.document import Recipe

# A place of a table: method, intermediate, mode, and the target, or the target and a language; ""
# for the average of targets.
Spot = tuple[str, str, str, str, str]


class Findings:
    """What a finished grid says beyond its scores, computed when it is asked for."""

    def __init__(self, grid: dict[str, Any], store: Store) -> None:
        self.grid, self.evidence = grid, Evidence(grid, store)

    @property
    def ready(self) -> bool:
        """Whether the recipe can be read, and the predictions of every entry are in the store."""
        try:
            return bool(self.recipe) and self.evidence.complete
        except XittError:
            return False

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that the grid was asked by."""
        from pydantic import ValidationError

        from adapters_xitt.study.recipe.document import Recipe

        try:
            return Recipe.model_validate(self.grid["recipe"])
        except ValidationError as error:
            raise XittError(
                f"the grid of {self.grid['name']} was asked by a recipe that this version doesn't"
                f" read ({error.errors()[0]['msg']}); run the recipe again"
            ) from None

    @cached_property
    def answers(self) -> list[Answer]:
        """To the recipe's questions."""
        return self.ask(self.recipe.questions)

    def ask(self, questions: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """To questions, each a sentence with its `Question`, corrected over these."""
        asked = subjects(self.recipe, self.grid["entries"], asked=questions)
        return answer(asked, self.evidence)

    @cached_property
    def calibration(self) -> Calibration:
        """Of every row whose task has probabilities."""
        return Calibration.of(self.evidence)

    @property
    def has_temperatures(self) -> bool:
        """Whether the recipe asked for calibration."""
        return self.evidence.has_temperatures

    @cached_property
    def controls(self) -> list[Control]:
        """Those that the grid has rows for."""
        return controls(self.recipe, self.evidence)

    @cached_property
    def claims(self) -> list[Finding]:
        """What the run says of the paper's claims."""
        return claims(self.evidence)

    @cached_property
    def consistency(self) -> pd.DataFrame:
        """How alike the answers of each row are over languages: `consistency.COLUMNS`."""
        return consistency(self.evidence)

    @cached_property
    def variance(self) -> pd.DataFrame:
        """Where the variance of scores comes from: `variance.COLUMNS`."""
        return variance(self.grid)

    @cached_property
    def significant(self) -> frozenset[Spot]:
        """The differences to `none` that a test finds at 5 %, each corrected over its table."""
        reading = Reading(self.grid)
        tables = [self._of_targets(reading, tags) for tags in (ZERO_SHOT, EVERY)]
        tables += [self._of_languages(reading, target) for target in reading.targets]
        return frozenset(spot for table in tables for spot in self._significant(dict(table)))

    def marked(self, table: Table, *, tags: str = "", target: str = "") -> Table:
        """A table with its significant differences: of targets over languages with `tags`, or of
        one `target` by language."""

        def mark(table_row: TableRow, column: str, cell: TableCell) -> TableCell:
            name = (table_row.method, table_row.intermediate, table_row.mode)
            spot = (*name, target, column) if target else (*name, column, tags)
            return replace(cell, significant=spot in self.significant)

        rows = []
        for table_row in table.rows:
            cells = {name: mark(table_row, name, cell) for name, cell in table_row.cells.items()}
            average = table_row.average and mark(table_row, "", table_row.average)
            rows.append(replace(table_row, cells=cells, average=average))
        return replace(table, rows=tuple(rows))

    def _of_targets(self, reading: Reading, tags: str) -> Iterator[tuple[Spot, Difference]]:
        table = reading.table(tags)
        tested = sorted({code for codes in reading.languages.values() for code in codes})
        condition: Condition = tested if tags == EVERY else None
        for table_row in table.rows:
            name = (table_row.intermediate, table_row.mode)
            for target, cell in table_row.cells.items():
                if cell.difference is not None:
                    spot = (table_row.method, *name, target, tags)
                    yield spot, _to_none(table_row.method, name, (target,), condition)
            if table_row.average and table_row.average.difference is not None:
                spot = (table_row.method, *name, "", tags)
                yield spot, _to_none(table_row.method, name, table.columns, condition)

    def _of_languages(self, reading: Reading, target: str) -> Iterator[tuple[Spot, Difference]]:
        for table_row in reading.by_language(target).rows:
            name = (table_row.intermediate, table_row.mode)
            for code, cell in table_row.cells.items():
                if cell.difference is not None:
                    spot = (table_row.method, *name, target, code)
                    yield spot, _to_none(table_row.method, name, (target,), [code])

    def _significant(self, table: Mapping[Spot, Difference]) -> Iterator[Spot]:
        """The places of one table whose difference a test finds."""
        p_values = {}
        for spot, difference in table.items():
            try:
                p_value = compare(difference, self.evidence).effect.p_value
            except XittError:
                continue  # its predictions are not there
            if p_value is not None:
                p_values[spot] = p_value
        corrected = holm(list(p_values.values()))
        for spot, p_value in zip(p_values, corrected, strict=True):
            if p_value <= LEVEL:
                yield spot


def tables_of(
    reading: Reading, findings: Findings | None
) -> tuple[dict[str, Table], dict[str, Table]]:
    """The tables of targets, by the languages that count, and those of languages, by target, with
    their significant differences where there are findings."""
    tables = {tags: reading.table(tags) for tags in (ZERO_SHOT, EVERY)}
    each = {target: reading.by_language(target) for target in reading.targets}
    if findings:
        tables = {tags: findings.marked(table, tags=tags) for tags, table in tables.items()}
        each = {target: findings.marked(table, target=target) for target, table in each.items()}
    return tables, each


def _to_none(
    method: str, name: RowName, targets: tuple[str, ...], condition: Condition
) -> Difference:
    return Difference(
        method=method, weights={name: 1.0, NONE: -1.0}, targets=targets, languages=condition
    )


def answers_frame(answers: Sequence[Answer]) -> pd.DataFrame:
    """One row for each answer: question, method, contrast, on, languages, seeds, items, measure,
    effect, low and high (95 %), p, p_corrected (Holm), detectable, matters, verdict, remarks.
    Effects are in the points of the measure; what is not known is NaN."""
    return pd.DataFrame([_fields(each) for each in answers], columns=COLUMNS)


COLUMNS = (
    "question",
    "method",
    "contrast",
    "on",
    "languages",
    "seeds",
    "items",
    "measure",
    "effect",
    "low",
    "high",
    "p",
    "p_corrected",
    "detectable",
    "matters",
    "verdict",
    "remarks",
)


def _fields(each: Answer) -> dict[str, Any]:
    """An answer as a row of a data frame."""
    compared, effect, interval = each.comparison, each.effect, each.interval
    nan = float("nan")
    codes = compared.languages if compared else {}
    remarks = [*(compared.remarks if compared else ()), *([each.reason] if each.reason else [])]
    return {
        "question": each.sentence,
        "method": each.method,
        "contrast": each.contrast,
        "on": " ".join(each.question.targets),
        "languages": " ".join(dict.fromkeys(code for part in codes.values() for code in part)),
        "seeds": len(compared.seeds) if compared else 0,
        "items": compared.items if compared else 0,
        "measure": each.question.measure,
        "effect": effect.difference if effect else nan,
        "low": interval[0] if interval else nan,
        "high": interval[1] if interval else nan,
        "p": nan if effect is None or effect.p_value is None else effect.p_value,
        "p_corrected": nan if each.p_corrected is None else each.p_corrected,
        "detectable": nan if each.detectable is None else each.detectable,
        "matters": nan if each.matters is None else each.matters,
        "verdict": each.verdict,
        "remarks": "; ".join(remarks),
    }
