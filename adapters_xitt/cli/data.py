"""What the commands `xitt data …` do: reads or fills a data folder, and prints."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.table import Table

from adapters_xitt import progress, sizes, tasks
from adapters_xitt.atomic import write_text
from adapters_xitt.data import audit, hub_datasets
from adapters_xitt.data.audit import BROKEN, MISSING, READ, UNLABELLED, UNREAD, Finding
from adapters_xitt.errors import XittError
from adapters_xitt.progress import console

EVERY = 5.0  # seconds between lines where there is no terminal
PROBLEMS = (BROKEN, UNLABELLED, UNREAD)  # of files that are there


# -- check -----------------------------------------------------------------------------------------
def check(folder: Path, names: Sequence[str], *, out: Path | None) -> int:
    """Prints what a folder holds; the exit status."""
    rows = (
        [tasks.task(name) for name in dict.fromkeys(names)] if names else list(tasks.TASKS.values())
    )
    findings = list(_watched(audit.findings(folder, rows), len(audit.splits_of(rows))))
    if out:
        stated = {"folder": str(folder), "findings": [finding.record() for finding in findings]}
        write_text(out, json.dumps(stated, indent=1, ensure_ascii=False) + "\n")
    by_task = {row.name: [one for one in findings if one.task == row.name] for row in rows}
    absent = (
        []
        if names
        else [name for name, found in by_task.items() if all(one.state == MISSING for one in found)]
    )
    shown = {name: found for name, found in by_task.items() if name not in absent}
    _print_table(folder, shown)
    _print_findings(folder, shown)
    if absent:
        console().print(f"Nothing of: {' '.join(absent)}.", highlight=False)
    return int(any(one.state in PROBLEMS for one in findings))


def _watched(found: Iterator[Finding], count: int) -> Iterator[Finding]:
    """The findings as they come, with a bar on a terminal and a line now and then elsewhere."""
    if sys.stderr.isatty():
        from rich.progress import track

        yield from track(
            found, total=count, description="reading", console=console(stderr=True), transient=True
        )
        return
    told = time.monotonic()
    for n, one in enumerate(found, 1):
        if time.monotonic() - told > EVERY:
            told = time.monotonic()
            progress.say(f"read {n} of {count}: {one.task} {one.split} {one.language}")
        yield one


def _print_table(folder: Path, shown: dict[str, list[Finding]]) -> None:
    table = Table(title=f"data in {folder}", title_justify="left")
    for column in ("task", "languages", "rows", "skipped", "problems", "missing"):
        table.add_column(column, justify="right" if column in ("problems", "missing") else "left")
    for name, found in shown.items():
        asked = _distinct(one.language for one in found if one.needed)
        have = _distinct(one.language for one in found if one.needed and one.state != MISSING)
        skipped: dict[str, int] = {}
        for one in found:
            for reason, count in one.skipped.items():
                skipped[reason] = skipped.get(reason, 0) + count
        bad = sum(one.state in PROBLEMS for one in found)
        missing = sum(one.state == MISSING and one.needed for one in found)
        table.add_row(
            name,
            f"{len(have)} of {len(asked)}",
            "\n".join(_rows(found)),
            "\n".join(f"{count:,} {reason}" for reason, count in skipped.items()),
            str(bad or ""),
            str(missing or ""),
        )
    console().print(table)


def _rows(found: Sequence[Finding]) -> Iterator[str]:
    """`test 6,750 in 15`: the rows of each split, and in how many languages."""
    for split in _distinct(one.split for one in found):
        read = [one for one in found if one.split == split and one.state == READ]
        if read:
            yield f"{split} {sum(one.rows for one in read):,}" + (
                f" in {len(read)}" if len(read) > 1 else ""
            )


def _print_findings(folder: Path, shown: dict[str, list[Finding]]) -> None:
    """Each broken file in full; what is missing or blank a line for each split."""
    out = console()

    def say(line: str) -> None:
        out.print(line, highlight=False, soft_wrap=True)

    for name, found in shown.items():
        for one in found:
            if one.state in (BROKEN, UNREAD):
                say(
                    f"{one.state}: {name} {one.split} {one.language}: "
                    + (one.problem if str(folder) in one.problem else f"{one.file}: {one.problem}")
                )
    for what, state, needed in (
        ("without labels", UNLABELLED, None),
        ("missing", MISSING, True),
        ("missing, and needed only where a recipe names it", MISSING, False),
    ):
        for name, found in shown.items():
            for split in _distinct(one.split for one in found):
                some = [
                    one
                    for one in found
                    if one.split == split and one.state == state and needed in (None, one.needed)
                ]
                if some:
                    looked = " | ".join(some[0].looked_for) or some[0].problem
                    say(
                        f"{what}: {name} {split} in {' '.join(one.language for one in some)} "
                        f"({looked}{' …' if len(some) > 1 else ''})"
                    )


def _distinct(words: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(words))


# -- fetch -----------------------------------------------------------------------------------------


def fetch(
    references: Sequence[str],
    folder: Path | None,
    *,
    revisions: Sequence[str],
    languages: Sequence[str],
    training: Sequence[str],
    most: str,
) -> None:
    """Fills a folder from the hub and says what was written; without tasks it lists those there
    are."""
    if not references:
        print_mirrors()
        return
    if folder is None:
        raise XittError("fetch: which folder is to be filled? Give --to FOLDER")
    pinned = {}
    for text in revisions:
        repo, equals, commit = text.partition("=")
        if not equals:
            raise XittError(f"--revision {text!r}: write REPOSITORY=COMMIT")
        pinned[repo] = commit

    done = hub_datasets.fetch(
        references,
        folder,
        revisions=pinned,
        languages=languages,
        training=training,
        most=sizes.parse_file_size(most),
        tell=progress.say,
    )
    out = console()
    out.print(
        f"{len(done.new)} files written, {len(done.kept)} were there; their commits and digests"
        f" stand in {folder / hub_datasets.RECORD}",
        highlight=False,
        soft_wrap=True,
    )
    for note in done.notes:
        out.print(f"Note: {note}", highlight=False, soft_wrap=True)


def print_mirrors() -> None:
    """The table of what can be fetched."""
    table = Table(title="on the hub", title_justify="left")
    for column in ("task", "splits", "repositories", "note"):
        table.add_column(column)
    for name, row in hub_datasets.HUB_DATASETS.items():
        repos = _distinct(part.repo for parts in row.splits.values() for part in parts)
        table.add_row(name, " ".join(row.splits), "\n".join(repos), row.note)
    for name, why in hub_datasets.ELSEWHERE.items():
        table.add_row(name, "–", "–", why)
    console().print(table)
