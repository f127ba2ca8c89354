"""Runs of a store, reported and submitted; submissions scored. Nothing here needs torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from adapters_xitt.api.grids import (
    Answers,
    AskOptions,
    Grid,
    Report,
    Submission,
    SubmitOptions,
)
from adapters_xitt.api.options import store_root
from adapters_xitt.atomic import write_text
from adapters_xitt.study import runs

if TYPE_CHECKING:
    from adapters_xitt.report.submission import Standing


def load_run(run: str, *, store: str | Path | None = None) -> Grid:
    """The grid of a finished run, by its name or its folder. A `XittError` with the nearest name
    where there is none.

    >>> load_run("small", store="docs").frame.target.unique().tolist()
    ['demo-pairs']
    """
    root = store_root(store)
    record, folder = runs.load_run(run, root)
    return Grid(record, folder, Path(store) if store else folder.parent.parent)


def write_report(
    run: str, *, out: str | Path | None = None, store: str | Path | None = None
) -> Report:
    """The grid of a finished run as text and as Markdown; written as Markdown, CSV and heat map
    into `out`, by default the run's own folder.

    >>> [path.name for path in write_report("small", store="docs").files]
    ['report.md', 'grid.csv', 'grid.png']
    """
    return load_run(run, store=store).report(out)


def ask(
    run: str,
    contrast: str,
    *,
    on: str | Sequence[str],
    store: str | Path | None = None,
    **options: Unpack[AskOptions],
) -> Answers:
    """The answer to a new question of a finished run, from its stored predictions: whether the
    first row of a contrast, "mnli - none", is above the second on the targets `on`. Effect and
    interval are in points; the verdict is "holds", "the contrary holds", "smaller than it would
    matter" or "can't be told from this run". A `XittError` where the run has no such row, target or
    language, or the store lacks the predictions.

    >>> asked = ask("small", "none - none", on="demo-pairs", store="docs")
    >>> asked.frame.effect.tolist()
    [0.0]
    """
    return load_run(run, store=store).ask(contrast, on=on, **options)


def submit(
    run: str,
    folder: str | Path,
    *,
    store: str | Path | None = None,
    **options: Unpack[SubmitOptions],
) -> Submission:
    """Writes one row of a finished run as the files that a benchmark's own script reads: see
    `Grid.submit`.

    >>> submit("small", "submission", benchmark="xtreme", store="docs")
    Traceback (most recent call last):
    ...
    adapters_xitt.errors.XittError: a submission is one row with one seed: small has no such row \
with scores in xtreme; it has
    """
    return load_run(run, store=store).submit(folder, **options)


def score(
    predictions: str | Path,
    labels: str | Path,
    *,
    benchmark: str = "xtreme",
    lenient: bool = False,
    json_file: str | Path | None = None,
) -> Standing:
    """What a submission folder, ours or not, scores against a folder of labels with the same names,
    as the benchmark's own script computes it; with `lenient` it is read as people mean it, and
    `remarks` says what was forgiven. Scores are percent. A `XittError` where the script would stop.

    >>> from pathlib import Path
    >>> for folder in ("predicted", "labels"):
    ...     Path(folder, "xnli").mkdir(parents=True)
    ...     written = Path(folder, "xnli", "test-de.tsv").write_text("neutral\\n")
    >>> score("predicted", "labels", lenient=True).scores["xnli"]["de"]
    {'accuracy': 100.0}
    """
    from adapters_xitt.report import submission

    standing = submission.score(
        Path(predictions), Path(labels), submission.benchmark(benchmark), lenient=lenient
    )
    if json_file:
        text = json.dumps(standing.record(), indent=1, ensure_ascii=False)
        write_text(Path(json_file), text + "\n")
    return standing
