"""Data folders: checked, and filled from a hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from adapters_xitt import tasks as registry
from adapters_xitt.atomic import write_text
from adapters_xitt.data import audit, hub_datasets
from adapters_xitt.data.audit import BROKEN, MISSING, UNLABELLED, UNREAD, Finding
from adapters_xitt.data.hub_datasets import Written
from adapters_xitt.errors import XittError
from adapters_xitt.progress import notify
from adapters_xitt.sizes import parse_file_size

if TYPE_CHECKING:
    import pandas as pd

PROBLEMS = (BROKEN, UNLABELLED, UNREAD)  # of files that are there

Watch = Callable[
    [Iterator[Finding], int], Iterable[Finding]
]  # the findings, and how many will come


@dataclass(frozen=True)
class DataCheck:
    """What a data folder holds: a finding for each split of a task in a language."""

    folder: Path
    findings: list[Finding]

    @property
    def problems(self) -> list[Finding]:
        """Files that are there and can't be used: broken, without labels, or not read."""
        return [finding for finding in self.findings if finding.state in PROBLEMS]

    @property
    def ok(self) -> bool:
        """Whether every file that is there can be used."""
        return not self.problems

    @property
    def by_task(self) -> dict[str, list[Finding]]:
        """Task → its findings."""
        groups: dict[str, list[Finding]] = {}
        for finding in self.findings:
            groups.setdefault(finding.task, []).append(finding)
        return groups

    @property
    def absent(self) -> list[str]:
        """The tasks of which there is nothing."""
        return [
            task
            for task, findings in self.by_task.items()
            if all(finding.state == MISSING for finding in findings)
        ]

    @property
    def frame(self) -> pd.DataFrame:
        """One row for each finding: task, language, split, state (read, missing, broken, …), needed
        (False: the task is trained and scored without it), rows, skipped, file, problem, …"""
        import pandas as pd

        return pd.DataFrame([finding.record() for finding in self.findings])


def check_data(
    folder: str | Path,
    tasks: Sequence[str] = (),
    *,
    json_file: str | Path | None = None,
    watch: Watch = lambda findings, count: findings,
) -> DataCheck:
    """Reads every file that a folder has of `tasks` (default: all) and says how many rows it holds,
    what is broken and what is missing; written to `json_file` as well. `watch` is handed the
    findings as they come, and how many will.

    >>> check = check_data(".", ["xnli"])
    >>> check.absent, check.ok
    (['xnli'], True)
    """
    names = dict.fromkeys(tasks) if tasks else registry.TASKS
    chosen = [registry.task(name) for name in names]
    root = Path(folder)
    findings = list(watch(audit.findings(root, chosen), len(audit.splits_of(chosen))))
    check = DataCheck(root, findings)
    if json_file:
        record = {"folder": str(root), "findings": [finding.record() for finding in findings]}
        text = json.dumps(record, indent=1, ensure_ascii=False)
        write_text(Path(json_file), text + "\n")
    return check


def fetch_data(
    tasks: Sequence[str],
    to: str | Path,
    *,
    revision: Sequence[str] = (),
    languages: Sequence[str] = (),
    train_language: Sequence[str] = ("en",),
    most: str = "2GB",
) -> Written:
    """Brings tasks (or `task@commit`) from the hub into a folder, as files of the origin's own
    layout; the commits are kept in fetched.json there and taken again the next time.

    `revision` are commits of repositories, `owner/name=commit`; `languages` are the only ones
    wanted, `train_language` those whose training split is; more than `most` is not downloaded. What
    was written (`new`), what was there (`kept`), and `notes`. A `XittError` says what can't be
    fetched, and why.

    >>> fetch_data(["demo-nli"], "data")
    Traceback (most recent call last):
    ...
    adapters_xitt.errors.XittError: demo-nli: the demo makes its own data; nothing is fetched
    """
    pinned = {}
    for text in revision:
        repository, equals, commit = text.partition("=")
        if not equals:
            raise XittError(f"--revision {text!r}: write REPOSITORY=COMMIT")
        pinned[repository] = commit
    return hub_datasets.fetch(
        tasks,
        Path(to),
        revisions=pinned,
        languages=languages,
        training=train_language,
        most=parse_file_size(most),
        tell=notify,
    )


def hub_tasks() -> dict[str, list[str]]:
    """Task → the repositories of the hub that it can be fetched from.

    >>> hub_tasks()["xnli"]
    ['facebook/xnli']
    """
    tasks = {}
    for name, dataset in hub_datasets.HUB_DATASETS.items():
        repositories = (part.repo for parts in dataset.splits.values() for part in parts)
        tasks[name] = list(dict.fromkeys(repositories))
    return tasks
