"""What was scored, as values: entries, data frames, reports, submissions."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from adapters_xitt import analysis
from adapters_xitt import report as reports
from adapters_xitt.analysis import claims, variance
from adapters_xitt.analysis.findings import Findings, answers_frame
from adapters_xitt.analysis.questions import Answer
from adapters_xitt.errors import XittError
from adapters_xitt.progress import console
from adapters_xitt.study.results import BLOCKED, DONE, FAILED, NOT_APPLICABLE
from adapters_xitt.study.store import Store

if TYPE_CHECKING:
    import pandas as pd

Entry = dict[str, Any]


# Which row of a run is submitted, and to what: `benchmark` is xtreme, xtreme-29 or xtreme-r; `row`
# is named as in the report (none, mnli stack), `method` where the run has several.
SubmitOptions = TypedDict(  # noqa: UP013
    "SubmitOptions",
    {"benchmark": str, "method": str | None, "row": str | None, "seed": int | None},
    total=False,
)


class Answers:
    """Answers to questions, each for one method."""

    def __init__(self, each: Sequence[Answer]) -> None:
        self.each = tuple(each)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each answer: question, method, contrast, on, languages, seeds, items,
        measure, effect, low and high (95 %), p, p_corrected (Holm, over all of them), detectable,
        matters, verdict, remarks. Effects are in points; what is not known is NaN."""
        return answers_frame(self.each)

    def __len__(self) -> int:
        return len(self.each)

    def __repr__(self) -> str:
        return f"Answers({[each.verdict for each in self.each]})"


class AskOptions(TypedDict, total=False):
    """How a question is asked, as in a recipe's `questions`.

    `languages` are codes, or a condition on the table of languages, {"joshi": "<=2"}; by default
    those that no row has seen. `against` is another contrast. `matters` is the bound in points
    below which a difference is as good as none. With `general` the languages are a sample of
    languages in general."""

    languages: list[str] | dict[str, Any] | None
    against: str
    measure: str
    method: str | None
    matters: float | None
    general: bool


class Scores:
    """What grids and evaluations share: their entries, each a place with its status and scores."""

    @property
    def entries(self) -> list[Entry]:
        """Every place: method, intermediate, mode, target, language, seed; its status (done,
        failed, blocked, not applicable) and reason; and, where it is done, its scores (%)."""
        raise NotImplementedError

    @property
    def failed(self) -> list[Entry]:
        """The entries that should have a score and have none."""
        return [entry for entry in self.entries if entry["status"] == FAILED]

    @property
    def ok(self) -> bool:
        """Whether every entry is done, blocked or not applicable."""
        good = (DONE, BLOCKED, NOT_APPLICABLE)
        return all(entry["status"] in good for entry in self.entries)

    @property
    def failures(self) -> list[str]:
        """A line for every reason for which places have failed, and how many it cost."""
        counted = Counter(entry["reason"] for entry in self.failed)
        return [
            f"failed: {count} place{'s' * (count > 1)}: {reason}"
            for reason, count in counted.items()
        ]


@dataclass(frozen=True)
class Report:
    """A grid as people read it."""

    text: str  # as on a terminal of 120 columns
    markdown: str
    files: tuple[Path, ...]  # report.md, grid.csv, grid.png; and fusion's where something was fused

    def __str__(self) -> str:
        return self.text

    def _repr_markdown_(self) -> str:
        return self.markdown


class Grid(Scores):
    """The grid of a run.

    `record` is its JSON value; `folder` is where it lies, in the store `store`."""

    def __init__(self, record: dict[str, Any], folder: Path, store: Path) -> None:
        self.record, self.folder, self.store = record, folder, store

    @property
    def name(self) -> str:
        """The recipe's name."""
        return self.record["name"]

    @property
    def entries(self) -> list[Entry]:
        return self.record["entries"]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each entry, in one fixed order: method, intermediate, mode, target, language,
        seed, status, reason, tag, overlap (share of test items with a text that was seen), key,
        score (percent; NaN where there is none), examples, `score.NAME` for every score, seconds,
        merge_error, merge_lost, family, script."""
        return analysis.frame(self.record)

    @cached_property
    def findings(self) -> Findings | None:
        """What the stored predictions say; None where the store lacks them, or where the recipe is
        of a version that asked otherwise."""
        findings = Findings(self.record, Store(self.store))
        return findings if findings.ready else None

    @property
    def answers(self) -> Answers:
        """To the recipe's questions. A `XittError` where the store lacks the predictions that they
        are answered from."""
        return Answers(self._findings.answers)

    def ask(
        self, contrast: str, *, on: str | Sequence[str], **options: Unpack[AskOptions]
    ) -> Answers:
        """The answer to a new question, "mnli - none", from the stored predictions: see `ask`."""
        from pydantic import ValidationError

        from adapters_xitt.study.recipe.document import Question

        values = {"contrast": contrast, "on": on if isinstance(on, str) else list(on), **options}
        try:
            question = Question.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "question"
            raise XittError(f"{place}: {first['msg']}") from None
        return Answers(self._findings.ask([{contrast: question}]))

    @property
    def claims(self) -> pd.DataFrame:
        """What the run says of the paper's claims, one row for each claim, method and mode: claim,
        sentence, source, support, method, mode, result, difference, low and high (95 %), p
        (corrected over all claims), rows, targets, remark. A `XittError` where the store lacks the
        predictions.

        >>> load_run("small", store="docs").claims.result.unique().tolist()
        ['not in this run']
        """
        return claims.table(self._findings.claims)

    @property
    def consistency(self) -> pd.DataFrame:
        """How alike the answers of each row are over the languages of its parallel targets: method,
        intermediate, mode, target, measure (rankc, agreement, agreement_where_right,
        overlap_of_right, kappa, fleiss), by (all, language, pair, or a column of the language
        table), group, languages, against, value, low and high (95 %, over items), spread (over
        seeds), seeds, items. A `XittError` where the store lacks the predictions.

        >>> load_run("small", store="docs").consistency.empty  # one language
        True
        """
        return self._findings.consistency

    @property
    def variance(self) -> pd.DataFrame:
        """Where the variance of scores comes from, by method, mode and target (empty: over
        targets): quantity (variance, kendall_w, kendall_tau, best, distance, left out), of (the
        factor, the intermediate, the source), value, low and high (95 %), share, levels, remark.

        >>> load_run("small", store="docs").variance.empty  # one row
        True
        """
        return variance.variance(self.record)

    @property
    def calibration(self) -> pd.DataFrame:
        """One row for each scored cell whose task has probabilities: method, intermediate, mode,
        target, language, seed; temperature (NaN where the recipe didn't ask for `calibration`); and
        ece, equal-mass ece, classwise error, overconfidence, brier, nll, selective risk, accuracy
        at 50 and accuracy at 80 (percent of the decisions), each as it is and `… after
        temperature`. A `XittError` where the store lacks the predictions.

        >>> grid = run("small.yaml", {"calibration": True, "name": "sure"}, store="docs")
        >>> frame = grid.calibration
        >>> frame.language.tolist(), bool((frame["ece after temperature"] <= 100).all())
        (['de'], True)
        """
        return self._findings.calibration.frame

    @property
    def _findings(self) -> Findings:
        if self.findings is None:
            raise XittError(
                f"{self.store}: it lacks predictions of {self.name}, which questions are answered"
                " and calibration is told from; run the recipe again"
            )
        return self.findings

    def report(self, out: str | Path | None = None) -> Report:
        """The grid as text and as Markdown; written as Markdown, CSV and heat map into `out`, by
        default the run's own folder."""
        page = io.StringIO()
        reports.terminal(self.record, console(file=page, width=120), self.findings)
        files = reports.write(self.record, Path(out) if out else self.folder, self.findings)
        return Report(page.getvalue(), reports.markdown(self.record, self.findings), files)

    def submit(self, folder: str | Path, **options: Unpack[SubmitOptions]) -> Submission:
        """Writes one row as the files that a benchmark's own script reads: xtreme, xtreme-29 or
        xtreme-r. A `XittError` lists the rows where the options leave several, or none."""
        from adapters_xitt.report import submission

        benchmark = options.get("benchmark") or "xtreme"
        asked = submission.benchmark(benchmark)
        systems = submission.systems(
            self.record,
            asked,
            method=options.get("method"),
            row_name=options.get("row"),
            seed=options.get("seed"),
        )
        if len(systems) != 1:
            every = systems or submission.systems(
                self.record, asked, method=None, row_name=None, seed=None
            )
            raise XittError(_several(self.name, benchmark, every, bool(systems)))
        store = Store(self.store)
        missing = submission.submit(self.record, store, systems[0], asked, Path(folder))
        return Submission(str(systems[0]), Path(folder), tuple(missing))

    def __repr__(self) -> str:
        return f"Grid({self.name!r}, {analysis.counts(self.record)})"


def _several(run: str, benchmark: str, systems: Sequence[Any], matched: bool) -> str:
    """Why a submission can't be written: the rows that it could be."""
    question = (
        "which of them?" if matched else f"{run} has no such row with scores in {benchmark}; it has"
    )
    lines = [f"a submission is one row with one seed: {question}", *map(str, systems[:40])]
    if len(systems) > 40:
        lines.append(f"and {len(systems) - 40} more")
    return "\n  ".join(lines)


@dataclass(frozen=True)
class Submission:
    """A folder as a benchmark's script reads it."""

    system: str  # the row, its method and seed
    folder: Path
    missing: tuple[str, ...]  # what the benchmark asks for and the run has not


class Evaluation(Scores):
    """The scores of one expression: a grid for each way that its tasks were read, one where
    nothing else is asked for."""

    def __init__(self, text: str, grids: Sequence[dict[str, Any]], store: Path) -> None:
        self.text, self.grids, self.store = text, list(grids), store

    @property
    def entries(self) -> list[Entry]:
        return [entry for grid in self.grids for entry in grid["entries"]]

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row for each task and language, as `Grid.frame` has it, with the convention by which
        it was read."""
        import pandas as pd

        frames = []
        for grid in self.grids:
            conventions = [entry.get("convention", "") for entry in analysis.ordered(grid)]
            frames.append(analysis.frame(grid).assign(convention=conventions))
        return pd.concat(frames, ignore_index=True)

    def __repr__(self) -> str:
        return f"Evaluation({self.text!r}, {len(self.entries)} entries)"
