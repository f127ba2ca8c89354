"""The paper's claims held against a finished run: which hold, which it contradicts, which can't be
told from it, and which it has no rows for.

A claim of several rows is of their unweighted mean; of several targets, of the unweighted mean over
those that the run has, of the languages that no row has seen. Effects and their intervals are those
of questions (`analysis/effects.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters_xitt.analysis.comparison import Comparison, Difference, compare
from adapters_xitt.analysis.contrasts import RowName
from adapters_xitt.analysis.effects import LEVEL, Effect, Uncertainty
from adapters_xitt.analysis.evidence import Evidence
from adapters_xitt.analysis.paper import CLAIMS, ROWS, Claim, Pair, lacking
from adapters_xitt.analysis.questions import CONTRARY, HOLDS, UNKNOWN, holm
from adapters_xitt.analysis.variance import TRANSFERS, sources
from adapters_xitt.errors import XittError
from adapters_xitt.study.results import DONE

if TYPE_CHECKING:
    import pandas as pd

MISSING = "not in this run"
NONE = ("", "none")  # the row without an intermediate
COLUMNS = (
    "claim",
    "sentence",
    "source",
    "support",
    "method",
    "mode",
    "result",  # holds | the contrary holds | can't be told from this run | not in this run
    "difference",
    "low",  # 95 % interval
    "high",
    "p",  # corrected (Holm) over all claims that could be asked
    "rows",
    "targets",
    "remark",  # what is missing, or why it can't be told
)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a run says of a claim, for one method and mode."""

    claim: Claim
    method: str = ""
    mode: str = ""
    rows: str = ""
    targets: tuple[str, ...] = ()  # that it is over
    effect: Effect | None = None
    by_target: tuple[Effect, ...] = ()  # of a claim of every target
    p_corrected: float | None = None
    remark: str = ""

    @property
    def result(self) -> str:
        """Whether the claim holds, its contrary does, or neither can be told."""
        if not self.method:
            return MISSING
        if self.claim.not_always:
            return self._not_always()
        if self.effect is None or self.p_corrected is None or self.p_corrected > LEVEL:
            return UNKNOWN
        return HOLDS if self.effect.difference > 0 else CONTRARY

    def _not_always(self) -> str:
        """One target on which the rows are worse decides for it, corrected over the targets; to be
        better on each of them, uncorrected since all must be, against it."""
        p_values = [each.p_value for each in self.by_target]
        if not p_values or any(p_value is None for p_value in p_values):
            return UNKNOWN
        pairs = list(zip(self.by_target, holm(p_values), strict=True))
        if any(each.difference < 0 and p_value <= LEVEL for each, p_value in pairs):
            return HOLDS
        above = [each.difference > 0 and (each.p_value or 0) <= LEVEL for each in self.by_target]
        return CONTRARY if all(above) else UNKNOWN


def claims(evidence: Evidence) -> list[Finding]:
    """Every claim, for each method and mode that has its rows, and once where none has; p-values
    are corrected over all of them."""
    findings: list[Finding] = []
    grid = evidence.grid
    named = sources(grid["recipe"])
    for claim in CLAIMS:
        asked = [
            _finding(claim, pair, method, mode, evidence)
            for pair in ROWS[claim.rows](named)
            for method, mode in _places(grid)
        ]
        there = [each for each in asked if each is not None]
        findings += there or [Finding(claim=claim, remark=lacking(claim, named, grid))]
    asked_of = [each for each in findings if each.effect and each.effect.p_value is not None]
    corrected = holm([each.effect.p_value for each in asked_of if each.effect])
    p_values = {id(each): value for each, value in zip(asked_of, corrected, strict=True)}
    return [replace(each, p_corrected=p_values.get(id(each))) for each in findings]


def table(findings: Sequence[Finding]) -> pd.DataFrame:
    """`COLUMNS`, a line for each."""
    import pandas as pd

    return pd.DataFrame(list(map(_line, findings)), columns=list(COLUMNS))


def _line(finding: Finding) -> tuple[Any, ...]:
    claim, effect = finding.claim, finding.effect
    interval = effect.interval() if effect else None
    return (
        claim.name,
        claim.sentence,
        claim.source,
        claim.support,
        finding.method,
        finding.mode,
        finding.result,
        effect.difference if effect else np.nan,
        *(interval or (np.nan, np.nan)),
        np.nan if finding.p_corrected is None else finding.p_corrected,
        finding.rows,
        " ".join(finding.targets),
        finding.remark,
    )


# -- what they say ---------------------------------------------------------------------------------


def _places(grid: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Methods and modes of rows that have one intermediate."""
    places = {(entry["method"], entry["mode"]): None for entry in grid["entries"]}
    return ((method, mode) for method, mode in places if mode in TRANSFERS)


def _finding(
    claim: Claim, pair: Pair, method: str, mode: str, evidence: Evidence
) -> Finding | None:
    """What one method and mode say; None where they lack the rows or the targets."""
    more = {target: _rows_on(target, pair, method, mode, evidence) for target in claim.targets}
    less = {target: _rows_on(target, pair, method, mode, evidence) for target in claim.less}
    more, less = ({name: rows for name, rows in each.items() if rows} for each in (more, less))
    if not more or (claim.less and not less):
        return None
    blank = Finding(claim=claim, method=method, mode=mode, rows=str(pair), targets=(*more, *less))
    try:
        compared = {
            target: _compared(target, rows, method, evidence)
            for target, rows in {**more, **less}.items()
        }
        if len({each.seeds for each in compared.values()}) > 1:
            raise XittError("the targets have different seeds")
    except XittError as error:
        return replace(blank, remark=str(error))
    weights = {target: 1 / len(more) for target in more}
    weights |= {target: -1 / len(less) for target in less}
    effects = {target: each.effect for target, each in compared.items()}
    whole = combined(effects, weights)
    remarks = [] if whole.uncertainty else ["one seed: what another would give is not known"]
    remarks += _lacking_somewhere(pair, [*more.values(), *less.values()], mode)
    return replace(
        blank,
        effect=whole,
        by_target=tuple(effects[target] for target in more),
        remark="; ".join(remarks),
    )


Weights = dict[RowName, float]


def _rows_on(target: str, pair: Pair, method: str, mode: str, evidence: Evidence) -> Weights:
    """The rows of a pair that have scores on a target, with their weights; empty where one side has
    none."""
    sides = [
        [
            _row_name(name, mode)
            for name in names
            if _done(method, _row_name(name, mode), target, evidence)
        ]
        for names in (pair.first, pair.second)
    ]
    if not all(sides):
        return {}
    first, second = sides
    return {name: 1 / len(first) for name in first} | {name: -1 / len(second) for name in second}


def _row_name(intermediate: str, mode: str) -> RowName:
    return (intermediate, mode) if intermediate else NONE


def _done(method: str, name: RowName, target: str, evidence: Evidence) -> bool:
    return any(entry["status"] == DONE for entry in evidence.of_rows(method, [target], [name]))


def _compared(target: str, weights: Weights, method: str, evidence: Evidence) -> Comparison:
    difference = Difference(method=method, weights=weights, targets=(target,))
    return compare(difference, evidence)


def _lacking_somewhere(pair: Pair, rows: Sequence[Weights], mode: str) -> list[str]:
    """Which rows some target lacks."""
    wanted = [_row_name(name, mode) for name in (*pair.first, *pair.second)]
    lacking = [name[0] or "none" for name in wanted if any(name not in each for each in rows)]
    return [f"not on every target: {', '.join(lacking)}"] if lacking else []


def combined(effects: Mapping[str, Effect], weights: Mapping[str, float]) -> Effect:
    """A weighted sum of effects on targets whose test items have nothing to do with each other, of
    the same seeds: seeds are paired, the variances of items add up (Satterthwaite's degrees of
    freedom)."""
    by_seed = np.sum([weights[target] * each.by_seed for target, each in effects.items()], axis=0)
    uncertain = {target: each.uncertainty for target, each in effects.items() if each.uncertainty}
    if len(by_seed) < 2 or len(uncertain) < len(effects):
        return Effect(float(by_seed.mean()), by_seed, None)
    parts = [(weights[target] * each.item_error) ** 2 for target, each in uncertain.items()]
    squares = sum(
        part**2 / each.item_freedom for part, each in zip(parts, uncertain.values(), strict=True)
    )
    return Effect(
        float(by_seed.mean()),
        by_seed,
        Uncertainty(
            float(by_seed.std(ddof=1) / np.sqrt(len(by_seed))),
            len(by_seed) - 1,
            float(np.sqrt(sum(parts))),
            sum(parts) ** 2 / squares if squares > 0 else float("inf"),
        ),
    )
