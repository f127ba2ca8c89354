"""What a data folder holds: every file of every task read once, with what is broken, blank or
missing and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from adapters_xitt.data.dataset import READERS, Override, Sources, in_language, parse_slice
from adapters_xitt.errors import DataError
from adapters_xitt.tasks import TASKS, Task

# What can be said of one split in one language, and what it means.
READ, UNLABELLED, BROKEN, MISSING, UNREAD = "read", "no labels", "broken", "missing", "no reader"

TRAINING_LANGUAGE = "en"


@dataclass(frozen=True)
class Finding:
    """One split of a task in one language."""

    task: str
    language: str
    split: str
    state: str  # READ | UNLABELLED | BROKEN | MISSING | UNREAD
    needed: bool  # False: the task is trained and scored without it
    rows: int = 0  # that a recipe can use
    skipped: Mapping[str, int] = field(default_factory=dict)  # reason -> rows
    file: str = ""  # "" where there is none
    labels: str = ""  # the file of labels kept apart
    problem: str = ""  # the reader's own words: file, line, what was expected
    # the places that were tried for what is missing, relative to the folder
    looked_for: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def is_needed(task: Task, split: str, language: str) -> bool:
    """Whether a task asks for a split in a language: its test in all that it is tested in, and what
    trains it and picks its step in English, where no other task does that for it."""
    if split == "test":
        return language in task.languages
    if not task.trains or task.trained_on or language != TRAINING_LANGUAGE:
        return False
    return split in (parse_slice(task.train)[0], parse_slice(task.selection)[0])


def splits_of(tasks: Iterable[Task]) -> list[tuple[Task, str, str]]:
    """Everything there is to read: task, language and split."""
    return [
        (task, language, split) for task in tasks for language in task.known for split in task.files
    ]


def findings(root: Path, tasks: Iterable[Task]) -> Iterator[Finding]:
    """A finding for every split of every task in every language, one by one, so that a caller can
    show how far it is; a broken file stops nothing."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    for task, language, split in splits_of(tasks):
        yield _finding(root, task, language, split)


def _finding(root: Path, task: Task, language: str, split: str) -> Finding:
    needed = is_needed(task, split, language)
    unread = Finding(task.name, language, split, MISSING, needed)
    # The test is whatever split an override names: that reads any split whole, by the code that a
    # run reads with.
    sources = Sources(root, {task.name: Override(test=split)})
    if task.joins:
        parts = [_finding(root, TASKS[name], language, split) for name in task.joins]
        if absent := [part.task for part in parts if part.state != READ]:
            return replace(unread, looked_for=tuple(f"the files of {name}" for name in absent))
    tried = [sources.places(task, pattern, language) for pattern in task.files[split]]
    files = next((paths for paths in tried if all(path.exists() for path in paths)), ())
    if not files and not task.joins:
        names = (" + ".join(str(path.relative_to(root)) for path in paths) for paths in tried)
        return replace(unread, looked_for=tuple(names))
    unread = replace(unread, file=" + ".join(map(str, files)))
    if task.reader not in READERS:
        problem = f"this version has no reader {task.reader!r}"
        return replace(unread, state=UNREAD, problem=problem)
    code = task.codes.get(language, language)
    apart = [in_language(pattern, code) for pattern in task.gold.get(split, ())]
    gold = next((root / name for name in apart if (root / name).exists()), None)
    broken = replace(unread, state=BROKEN, labels=str(gold or ""))
    return _read(sources, task, files[0] if files else root, broken, apart)


def _read(
    sources: Sources, task: Task, first: Path, finding: Finding, apart: Sequence[str]
) -> Finding:
    """The finding with what reading the split, whose first file is `first`, says of it; `apart` are
    the files in which its labels may lie."""
    unlabelled = replace(finding, state=UNLABELLED, looked_for=tuple(apart))
    try:
        examples = sources.test(task, finding.language)
    except DataError as error:
        if not finding.labels and _blank(str(error), first, bool(apart)):
            return replace(unlabelled, problem=str(error))
        return replace(finding, problem=str(error))
    except OSError as error:  # a folder that may not be entered, a disk that fails
        return replace(finding, problem=f"{first}: can't be read ({error})")
    read = replace(finding, rows=len(examples.rows), skipped=dict(examples.skipped))
    if not examples.has_labels:
        problem = f"{first}: no row has a label"
        return replace(read, state=UNLABELLED, looked_for=tuple(apart), problem=problem)
    return replace(read, state=READ)


def _blank(problem: str, path: Path, apart: bool) -> bool:
    """Whether a reader stopped because the labels of the whole file lie elsewhere: it says so of
    the first line. Further down it is a line that lacks its own."""
    # those of a second file
    at_first_line = problem.startswith(f"{path}:1:") or "found sorted lines" in problem
    return apart and at_first_line and "gold file" in problem
