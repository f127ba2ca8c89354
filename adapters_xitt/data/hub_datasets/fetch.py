"""Brings hub data sets into a data folder and keeps the record that pins their revisions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters_xitt import hub
from adapters_xitt.atomic import DiskRefuses, drop_leftovers, whole_file, write_text
from adapters_xitt.data import audit
from adapters_xitt.data.dataset import in_language, parse_slice
from adapters_xitt.data.hub_datasets import parquet, repository
from adapters_xitt.data.hub_datasets.parts import HubDataset, Part
from adapters_xitt.data.hub_datasets.shapes import SHAPES, SplitFiles
from adapters_xitt.data.hub_datasets.table import hub_dataset
from adapters_xitt.errors import DataError, XittError, unknown
from adapters_xitt.hashing import file_digest
from adapters_xitt.tasks import Task, task
from adapters_xitt.text_files import text_of

RECORD = "fetched.json"
FORMAT = 1

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Piece:
    """One part of a file, with its files on the hub."""

    part: Part
    config: str
    tree: repository.Tree
    files: tuple[hub.RemoteFile, ...]

    def record(self) -> dict[str, Any]:
        """As the folder's record has it."""
        return {
            "repo": self.part.repo,
            "revision": self.tree.revision,
            "config": self.config,
            "split": self.part.split,
            "files": [
                {"path": remote.path, "size": remote.size, "sha256": remote.sha256}
                for remote in self.files
            ],
        }


@dataclass(frozen=True)
class Wanted:
    """One split of a task in one language, to be written."""

    task: Task
    hub_dataset: HubDataset
    split: str
    language: str
    files: SplitFiles  # relative to the folder
    pieces: tuple[Piece, ...] = ()

    @property
    def title(self) -> str:
        """What is told of it."""
        return f"{self.task.name} {self.split} {self.language}"

    @property
    def code(self) -> str:
        """What the hub calls the language."""
        return self.hub_dataset.codes.get(self.language, self.language)


@dataclass(frozen=True)
class Written:
    """What a fetch did: files it wrote, files that were there already, and what the hub has not."""

    new: tuple[Path, ...]
    kept: tuple[Path, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """What is asked for: tasks, each with its commit where one is pinned."""

    commits: Mapping[str, str | None]  # task -> commit
    revisions: Mapping[str, str]  # repository -> commit
    languages: Sequence[str]  # only these; all where there are none
    training: Sequence[str]  # the languages whose training split is wanted

    @property
    def tasks(self) -> list[tuple[Task, HubDataset]]:
        """The tasks, and where their rows lie."""
        return [(task(name), hub_dataset(name)) for name in self.commits]


def task_reference(text: str) -> tuple[str, str | None]:
    """`task` or `task@commit` as the two; a commit is whole, because a branch moves."""
    problem = f"{text!r}: write a task, or task@commit with all 40 digits of the commit"
    reference = hub.pinned_reference(text, problem)
    return reference.repo, reference.revision


def fetch(
    references: Sequence[str],
    to: Path,
    *,
    revisions: Mapping[str, str] | None = None,
    languages: Sequence[str] = (),
    training: Sequence[str] = ("en",),
    most: int = 2_000_000_000,
    tell: Tell = lambda line: None,
) -> Written:
    """Writes tasks into a folder, in the layout that their rows look for first.

    Without a revision (`task@commit`, or `revisions` by repository) that of the folder's record is
    taken, else the current commit, which goes into the record before anything is downloaded.
    `languages`: only these; `training`: the languages whose training split is wanted. More than
    `most` bytes to download are refused."""
    commits = {
        name: commit
        for reference, commit in map(task_reference, references)
        for name in task(reference).joins or (reference,)
    }
    request = Request(commits, revisions or {}, languages, training)
    _check_languages(request)
    record = _read_record(to)
    trees = _trees(request, record, tell)
    wanted, notes = _wanted_splits(request, trees)
    kept = [split for split in wanted if _is_whole(split, to, record)]
    missing = [split for split in wanted if split not in kept]
    _check_free(missing, to, record)
    _check_size(missing, most)
    to.mkdir(parents=True, exist_ok=True)
    for name in commits:
        record["pins"][name] = {
            repo: tree.revision for (owner, repo), tree in trees.items() if owner == name
        }
    # before the first download: a fetch that is cut off goes on at the same revisions
    _write_record(to, record)
    drop_leftovers(to / path for path in _paths(missing))
    for split in missing:
        count = _write(split, to, record)
        tell(f"{split.title}: {count:,} rows in {split.files.file}")
    return Written(_paths(missing), _paths(kept), (*notes, *_remarks(request)))


def _paths(splits: Iterable[Wanted]) -> tuple[Path, ...]:
    return tuple(path for split in splits for path in split.files.all)


def _remarks(request: Request) -> Iterator[str]:
    """How the hub's rows differ from the origin's, and which splits it lacks."""
    for target, dataset in request.tasks:
        if dataset.note:
            yield f"{target.name}: {dataset.note}"
        if absent := [split for split in target.files if split not in dataset.splits]:
            splits = " ".join(absent)
            yield f"{target.name}: no {splits} from the hub, which has none or none with labels"


# -- what is wanted, and where it is ---------------------------------------------------------------


def _wanted_splits(
    request: Request, trees: Mapping[tuple[str, str], repository.Tree]
) -> tuple[list[Wanted], list[str]]:
    """The splits that are asked for, with their files on the hub, and notes of what it lacks."""
    wanted: list[Wanted] = []
    notes: list[str] = []
    for target, dataset in request.tasks:
        for language, split in _asked_splits(target, dataset, request):
            files = _split_files(target, dataset, split, language)
            asked = Wanted(target, dataset, split, language, files)
            try:
                pieces = tuple(_pieces(asked, trees))
            except XittError as error:
                if audit.is_needed(target, split, language):
                    raise
                notes.append(f"{asked.title}: not there, and not needed ({error})")
            else:
                wanted.append(replace(asked, pieces=pieces))
    if not wanted:
        nothing = f"none of {' '.join(request.commits)} in " + " ".join(request.languages)
        raise XittError("nothing to fetch: " + ("; ".join(notes) or nothing))
    return wanted, notes


def _asked_splits(target: Task, dataset: HubDataset, request: Request) -> Iterator[tuple[str, str]]:
    """The languages and splits of a task that are asked for."""
    for language in target.known:
        trains = language in request.training
        listed = not request.languages or language in request.languages
        if not listed and not (trains and "train" in dataset.splits):
            continue
        # what picks the step
        selection = parse_slice(target.selection)[0] if trains else ""
        for split in dataset.splits:
            if split not in target.files or (split == "train" and not trains):
                continue
            if listed or split in ("train", selection):
                yield language, split


def _check_languages(request: Request) -> None:
    targets = [target for target, _ in request.tasks]
    known = list(dict.fromkeys(("en", *(code for target in targets for code in target.known))))
    for language in (*request.languages, *request.training):
        if language not in known:
            names = " ".join(target.name for target in targets)
            raise XittError(f"{names}: {unknown('language', language, known)}")


def _split_files(target: Task, dataset: HubDataset, split: str, language: str) -> SplitFiles:
    """The files that the task's row looks for first: the hub has no say in it."""
    pattern = next(pattern for pattern in target.files[split] if " + " not in pattern)
    file = Path(in_language(pattern, language))
    labels = None
    if split in dataset.apart:
        labels = Path(in_language(target.gold[split][0], language))
    other = target.options.get("other")
    return SplitFiles(
        file, labels, file.with_name(str(other).format(lang=language)) if other else None
    )


def _repositories(dataset: HubDataset) -> list[str]:
    return list(dict.fromkeys(part.repo for parts in dataset.splits.values() for part in parts))


def _trees(
    request: Request, record: Mapping[str, Any], tell: Tell
) -> dict[tuple[str, str], repository.Tree]:
    """(task, repository) -> its files at the revision that is asked for, recorded, or current."""
    repos = {target.name: _repositories(dataset) for target, dataset in request.tasks}
    _check_revisions(request, repos)
    trees: dict[tuple[str, str], repository.Tree] = {}
    known: dict[tuple[str, str | None], repository.Tree] = {}
    for name, task_repos in repos.items():
        for repo in task_repos:
            pinned = record["pins"].get(name, {}).get(repo)
            revision = request.commits[name] or request.revisions.get(repo) or pinned
            if (repo, revision) not in known:
                known[repo, revision] = repository.tree(repo, revision)
                how = "as asked" if revision != pinned else "as before"
                tell(f"{repo}@{known[repo, revision].revision} ({how if revision else 'current'})")
            trees[name, repo] = known[repo, revision]
    return trees


def _check_revisions(request: Request, repos: Mapping[str, Sequence[str]]) -> None:
    """Refuses commits of repositories that nothing is read from, and branches."""
    every = list(dict.fromkeys(repo for task_repos in repos.values() for repo in task_repos))
    for repo, revision in request.revisions.items():
        if repo not in every:
            raise XittError(unknown("repository", repo, every))
        if not hub.is_commit(revision):
            raise XittError(f"{repo}@{revision}: write all 40 digits of the commit")
    for name, commit in request.commits.items():
        if commit and len(repos[name]) > 1:
            raise XittError(
                f"{name}@{commit}: {name} is made of {', '.join(repos[name])}; give --revision"
                " REPOSITORY=COMMIT for each"
            )


def _pieces(wanted: Wanted, trees: Mapping[tuple[str, str], repository.Tree]) -> Iterator[Piece]:
    """The files of a split on the hub; a `XittError` where it lacks them."""
    for part in wanted.hub_dataset.splits[wanted.split]:
        tree = trees[wanted.task.name, part.repo]
        config = part.config.format(lang=wanted.language, code=wanted.code)
        splits = tree.config(config, only=config == part.config)
        if part.split not in splits:
            raise XittError(
                f"{part.repo}@{tree.revision[:12]} {config}: {unknown('split', part.split, splits)}"
            )
        yield Piece(part, config, tree, splits[part.split])


def _check_size(splits: Sequence[Wanted], most: int) -> None:
    sizes = {
        (piece.part.repo, remote.path): remote.size
        for split in splits
        for piece in split.pieces
        for remote in piece.files
    }
    if sum(sizes.values()) > most:
        by_repo: dict[str, int] = {}
        for (repo, _), size in sizes.items():
            by_repo[repo] = by_repo.get(repo, 0) + size
        raise XittError(
            f"{sum(sizes.values()):,} bytes to download, more than --most {most:,}: "
            + ", ".join(f"{repo} {size:,}" for repo, size in by_repo.items())
            + "; raise --most, or name languages"
        )


# -- the record ------------------------------------------------------------------------------------


def _read_record(to: Path) -> dict[str, Any]:
    path = to / RECORD
    if not path.exists():
        return {"format": FORMAT, "pins": {}, "files": {}}
    try:
        record = json.loads(text_of(path))
        if record["format"] != FORMAT:
            raise XittError(f"{path}: is of format {record['format']}, this version reads {FORMAT}")
        if not (isinstance(record["pins"], dict) and isinstance(record["files"], dict)):
            raise KeyError("pins")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise XittError(f"{path}: can't be read ({error!r}); move it away to fetch anew") from None
    return record


def _write_record(to: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_text(to / RECORD, text)


def _is_whole(wanted: Wanted, to: Path, record: Mapping[str, Any]) -> bool:
    """Whether every file of it is there as this command wrote it, from the same revisions."""
    for path in wanted.files.all:
        known = record["files"].get(path.as_posix())
        if not known or known["parts"] != [piece.record() for piece in wanted.pieces]:
            return False
        if not (to / path).is_file() or file_digest(to / path) != known["sha256"]:
            return False
    return True


def _check_free(splits: Sequence[Wanted], to: Path, record: Mapping[str, Any]) -> None:
    """Raise a `XittError` where a file is in the way that this command did not write, or that was
    changed since."""
    for path in _paths(splits):
        known = record["files"].get(path.as_posix())
        if (to / path).exists() and (not known or file_digest(to / path) not in known["ours"]):
            raise XittError(
                f"{to / path}: is there, and is not what this command wrote; move it away, or fetch"
                " into another folder"
            )


def _write(wanted: Wanted, to: Path, record: dict[str, Any]) -> int:
    """Downloads, converts, and names each file only when it is whole and in the record; how many
    rows there are."""
    downloads = [repository.download(piece.tree, piece.files) for piece in wanted.pieces]
    try:
        with ExitStack() as stack:
            works = {path: stack.enter_context(whole_file(to / path)) for path in wanted.files.all}
            count = SHAPES[wanted.hub_dataset.shape](
                _examples(wanted, downloads), wanted.files.with_paths(works)
            )
            if not count:
                raise DataError("no row is left")
            for path, work in works.items():
                name = path.as_posix()
                record["files"][name] = _file_record(wanted, work, count, record["files"].get(name))
            _write_record(to, record)
    except DataError as error:
        raise DataError(f"{wanted.title}: {error}") from None
    except (OSError, DiskRefuses) as error:  # a full disk, a folder that may not be written
        raise XittError(
            f"{wanted.title}: can't be written ({error}); the same command goes on from here"
        ) from None
    return count


def _examples(wanted: Wanted, downloads: Sequence[Sequence[Path]]) -> Iterator[dict[str, Any]]:
    """The examples of the files that were downloaded for each piece, in the origin's terms."""
    for piece, paths in zip(wanted.pieces, downloads, strict=True):
        for remote, path in zip(piece.files, paths, strict=True):
            location = f"{piece.part.repo} {remote.path}"
            yield from parquet.rows(path, piece.part, code=wanted.code, location=location)


def _file_record(
    wanted: Wanted, work: Path, count: int, before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the record says of a file."""
    sha = file_digest(work)
    older = [digest for digest in (before or {}).get("ours", []) if digest != sha]
    return {
        "task": wanted.task.name,
        "split": wanted.split,
        "language": wanted.language,
        "rows": count,
        "sha256": sha,
        # Those before it are ours as well, should this stop between the record and the name.
        "ours": [sha, *older][:3],
        "parts": [piece.record() for piece in wanted.pieces],
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
