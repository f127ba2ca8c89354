"""What the commands `xitt data …` print."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.table import Table

from adapters_xitt import progress
from adapters_xitt.api.data import PROBLEMS, DataCheck
from adapters_xitt.data import hub_datasets
from adapters_xitt.data.audit import BROKEN, MISSING, READ, UNLABELLED, UNREAD, Finding
from adapters_xitt.data.hub_datasets import Written
from adapters_xitt.progress import console

EVERY = 5.0  # seconds between lines where there is no terminal


def watch(findings: Iterator[Finding], count: int) -> Iterator[Finding]:
    """The findings as they come, with a bar on a terminal and a line now and then elsewhere."""
    if sys.stderr.isatty():
        from rich.progress import track

        out = console(stderr=True)
        yield from track(findings, total=count, description="reading", console=out, transient=True)
        return
    last = time.monotonic()
    for number, finding in enumerate(findings, 1):
        if time.monotonic() - last > EVERY:
            last = time.monotonic()
            place = f"{finding.task} {finding.split} {finding.language}"
            progress.notify(f"read {number} of {count}: {place}")
        yield finding


def print_check(check: DataCheck, *, absent: Sequence[str]) -> None:
    """What a folder holds; `absent` are tasks that need no more than their name."""
    shown = {name: group for name, group in check.by_task.items() if name not in absent}
    _print_table(check.folder, shown)
    _print_findings(check.folder, shown)
    if absent:
        console().print(f"Nothing of: {' '.join(absent)}.", highlight=False)


def _print_table(folder: Path, shown: Mapping[str, Sequence[Finding]]) -> None:
    table = Table(title=f"data in {folder}", title_justify="left")
    for column in ("task", "languages", "rows", "skipped", "problems", "missing"):
        table.add_column(column, justify="right" if column in ("problems", "missing") else "left")
    for name, findings in shown.items():
        needed = [finding for finding in findings if finding.needed]
        asked = _distinct(finding.language for finding in needed)
        have = _distinct(finding.language for finding in needed if finding.state != MISSING)
        skipped: dict[str, int] = {}
        for finding in findings:
            for reason, count in finding.skipped.items():
                skipped[reason] = skipped.get(reason, 0) + count
        bad = sum(finding.state in PROBLEMS for finding in findings)
        missing = sum(finding.state == MISSING for finding in needed)
        table.add_row(
            name,
            f"{len(have)} of {len(asked)}",
            "\n".join(_counts(findings)),
            "\n".join(f"{count:,} {reason}" for reason, count in skipped.items()),
            str(bad or ""),
            str(missing or ""),
        )
    console().print(table)


def _counts(findings: Sequence[Finding]) -> Iterator[str]:
    """`test 6,750 in 15`: the rows of each split, and in how many languages."""
    for split in _distinct(finding.split for finding in findings):
        read = [finding for finding in findings if finding.split == split and finding.state == READ]
        if read:
            languages = f" in {len(read)}" if len(read) > 1 else ""
            yield f"{split} {sum(finding.rows for finding in read):,}{languages}"


def _print_findings(folder: Path, shown: Mapping[str, Sequence[Finding]]) -> None:
    """Each broken file in full; what is missing or blank a line for each split."""
    lines = [
        _problem(folder, finding)
        for findings in shown.values()
        for finding in findings
        if finding.state in (BROKEN, UNREAD)
    ]
    for title, state, needed in (
        ("without labels", UNLABELLED, None),
        ("missing", MISSING, True),
        ("missing, and needed only where a recipe names it", MISSING, False),
    ):
        for name, findings in shown.items():
            asked = [
                finding
                for finding in findings
                if finding.state == state and needed in (None, finding.needed)
            ]
            lines += [f"{title}: {name} {line}" for line in _by_split(asked)]
    for line in lines:
        console().print(line, highlight=False, soft_wrap=True)


def _problem(folder: Path, finding: Finding) -> str:
    problem = finding.problem
    if str(folder) not in problem:
        problem = f"{finding.file}: {problem}"
    return f"{finding.state}: {finding.task} {finding.split} {finding.language}: {problem}"


def _by_split(findings: Sequence[Finding]) -> Iterator[str]:
    """A line for each split: in which languages, and where its file was looked for."""
    for split in _distinct(finding.split for finding in findings):
        group = [finding for finding in findings if finding.split == split]
        files = " | ".join(group[0].looked_for) or group[0].problem
        languages = " ".join(finding.language for finding in group)
        yield f"{split} in {languages} ({files}{' …' if len(group) > 1 else ''})"


def _distinct(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


def print_written(written: Written, folder: Path) -> None:
    """What was brought into a folder, and what was there."""
    out = console()
    out.print(
        f"{len(written.new)} files written, {len(written.kept)} were there; their commits and"
        f" digests stand in {folder / hub_datasets.RECORD}",
        highlight=False,
        soft_wrap=True,
    )
    for note in written.notes:
        out.print(f"Note: {note}", highlight=False, soft_wrap=True)


def print_hub_datasets() -> None:
    """The table of what can be fetched."""
    table = Table(title="on the hub", title_justify="left")
    for column in ("task", "splits", "repositories", "note"):
        table.add_column(column)
    for name, dataset in hub_datasets.HUB_DATASETS.items():
        repositories = _distinct(part.repo for parts in dataset.splits.values() for part in parts)
        table.add_row(name, " ".join(dataset.splits), "\n".join(repositories), dataset.note)
    for name, reason in hub_datasets.ELSEWHERE.items():
        table.add_row(name, "–", "–", reason)
    console().print(table)
