"""What a data folder holds: every file of every task read once, with what is broken, blank or
missing and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from adapters_xitt.data.dataset import READERS, Override, Sources, in_language, parse_slice
from adapters_xitt.errors import DataError
from adapters_xitt.tasks import TASKS, Task

# What can be said of one split in one language, and what it means.
READ, UNLABELLED, BROKEN, MISSING, UNREAD = "read", "no labels", "broken", "missing", "no reader"
STATES = (READ, UNLABELLED, BROKEN, MISSING, UNREAD)

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


def needed(task: Task, split: str, language: str) -> bool:
    """Whether a task asks for a split in a language: its test in all that it is tested in, and what
    trains it and picks its step in English, where no other task does that for it."""
    if split == "test":
        return language in task.languages
    own = (
        {parse_slice(task.train)[0], parse_slice(task.selection)[0]}
        if task.trains and not task.trained_on
        else set()
    )
    return split in own and language == TRAINING_LANGUAGE


def places(tasks: Iterable[Task]) -> list[tuple[Task, str, str]]:
    """Everything there is to look at: task, language and split."""
    return [
        (task, language, split) for task in tasks for language in task.known for split in task.files
    ]


def check(root: Path, tasks: Iterable[Task]) -> list[Finding]:
    """A finding for every split of every task in every language."""
    return list(each(root, tasks))


def each(root: Path, tasks: Iterable[Task]) -> Iterator[Finding]:
    """The findings one by one, so that a caller can show how far it is; a broken file stops
    nothing."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    for task, language, split in places(tasks):
        yield _look(root, task, language, split)


def _look(root: Path, task: Task, language: str, split: str) -> Finding:
    asked = needed(task, split, language)
    own = {"task": task.name, "language": language, "split": split, "needed": asked}
    # The test is whatever split an override names: that reads any split whole, by the code that a
    # run reads with.
    sources = Sources(root, {task.name: Override(test=split)})
    if task.joins:
        parts = [_look(root, TASKS[name], language, split) for name in task.joins]
        if lacking := [part.task for part in parts if part.state != READ]:
            return Finding(
                **own, state=MISSING, looked_for=tuple(f"the files of {name}" for name in lacking)
            )
    tried = [sources.places(task, pattern, language) for pattern in task.files[split]]
    files = next((paths for paths in tried if all(path.exists() for path in paths)), None)
    if files is None and not task.joins:
        names = (" + ".join(str(path.relative_to(root)) for path in paths) for paths in tried)
        return Finding(**own, state=MISSING, looked_for=tuple(names))
    there = files[0] if files else root
    own["file"] = " + ".join(map(str, files or ()))
    if task.reader not in READERS:
        return Finding(**own, state=UNREAD, problem=f"this version has no reader {task.reader!r}")
    apart = [
        in_language(pattern, task.codes.get(language, language))
        for pattern in task.gold.get(split, ())
    ]
    gold = next((root / name for name in apart if (root / name).exists()), None)
    own["labels"] = str(gold or "")
    try:
        found = sources.test(task, language)
    except DataError as error:
        if gold is None and _blank(str(error), there, bool(apart)):
            return Finding(**own, state=UNLABELLED, problem=str(error), looked_for=tuple(apart))
        return Finding(**own, state=BROKEN, problem=str(error))
    except OSError as error:  # a folder that may not be entered, a disk that fails
        return Finding(**own, state=BROKEN, problem=f"{there}: can't be read ({error})")
    own |= {"rows": len(found.rows), "skipped": dict(found.skipped)}
    if not found.scored:
        return Finding(
            **own, state=UNLABELLED, problem=f"{there}: no row has a label", looked_for=tuple(apart)
        )
    return Finding(**own, state=READ)


def _blank(problem: str, path: Path, apart: bool) -> bool:
    """Whether a reader stopped because the labels of the whole file lie elsewhere: it says so of
    the first line. Further down it is a line that lacks its own."""
    # those of a second file
    at_first_line = problem.startswith(f"{path}:1:") or "found sorted lines" in problem
    return apart and at_first_line and "gold file" in problem
