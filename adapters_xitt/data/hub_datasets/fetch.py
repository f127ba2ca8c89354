"""Brings hub data sets into a data folder and keeps the record that pins their revisions."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapters_xitt.data import audit
from adapters_xitt.data.dataset import in_language, parse_slice
from adapters_xitt.data.hub_datasets import parquet, wire
from adapters_xitt.data.hub_datasets.shapes import SHAPES, Places
from adapters_xitt.data.hub_datasets.table import HubDataset, Part, hub_dataset
from adapters_xitt.errors import DataError, XittError, unknown
from adapters_xitt.tasks import Task, task
from adapters_xitt.text_files import text_of

RECORD = "fetched.json"
FORMAT = 1
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?", re.IGNORECASE)
_COMMIT = re.compile(r"[0-9a-f]{40}")

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Piece:
    """One part of a file, found on the hub."""

    part: Part
    config: str
    tree: wire.Tree
    files: tuple[wire.Remote, ...]

    def record(self) -> dict[str, Any]:
        return {
            "repo": self.part.repo,
            "revision": self.tree.revision,
            "config": self.config,
            "split": self.part.split,
            "files": [vars(remote) for remote in self.files],
        }


@dataclass(frozen=True)
class Wanted:
    """One split of a task in one language, to be written."""

    task: Task
    hub_dataset: HubDataset
    split: str
    language: str
    places: Places  # relative to the folder
    pieces: tuple[Piece, ...] = ()

    @property
    def title(self) -> str:
        return f"{self.task.name} {self.split} {self.language}"


@dataclass(frozen=True)
class Written:
    """What a fetch did: files it wrote, files that were there already, and what the hub has not."""

    new: tuple[Path, ...]
    kept: tuple[Path, ...]
    notes: tuple[str, ...]


def parse_reference(reference: str) -> tuple[str, str | None]:
    """`task` or `task@commit` as the two; a commit is whole, because a branch moves."""
    name, at, revision = reference.partition("@")
    if at and not _COMMIT.fullmatch(revision):
        raise XittError(
            f"{reference!r}: write a task, or task@commit with all 40 digits of the commit"
        )
    return name, revision or None


def parse_size(text: str) -> int:
    """`2GB`, `500 MB`, `1.5G` or a number as bytes."""
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise XittError(f"size {text!r}: write 2GB, 500MB or a number of bytes")
    return int(float(found[1]) * 1000 ** " KMGT".index(found[2].upper() or " "))


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
    asked = {
        one: revision
        for name, revision in map(parse_reference, references)
        for one in task(name).joins or (name,)
    }
    rows = [(task(name), hub_dataset(name)) for name in asked]
    _check_languages((*languages, *training), rows)
    record = _read_record(to)
    trees = _trees(rows, asked, revisions or {}, record, tell)
    wanted, notes = [], []
    for row, kept in rows:
        for one in _wanted(row, kept, languages, training):
            found = _pieces(one, trees, notes)
            wanted += [found] if found else []
    if not wanted:
        raise XittError(
            "nothing to fetch: "
            + ("; ".join(notes) or f"none of {' '.join(asked)} in " + " ".join(languages))
        )
    there = [one for one in wanted if _is_whole(one, to, record)]
    left = [one for one in wanted if one not in there]
    _check_free(left, to, record)
    _check_size(left, most)
    to.mkdir(parents=True, exist_ok=True)
    for row, _ in rows:
        record["pins"][row.name] = {
            repo: tree.revision for (name, repo), tree in trees.items() if name == row.name
        }
    # before the first download: a fetch that is cut off goes on at the same revisions
    _write_record(to, record)
    for one in left:
        count = _write(one, to, record)
        tell(f"{one.title}: {count:,} rows in {one.places.file}")
    for row, kept in rows:
        notes += [f"{row.name}: {kept.note}"] if kept.note else []
        if without := [split for split in row.files if split not in kept.splits]:
            notes.append(
                f"{row.name}: no {' '.join(without)} from the hub, which has none or none with"
                " labels"
            )
    return Written(_paths(left), _paths(there), tuple(notes))


def _paths(found: Sequence[Wanted]) -> tuple[Path, ...]:
    return tuple(path for one in found for path in one.places.all)


# -- what is wanted, and where it is ---------------------------------------------------------------


def _wanted(
    row: Task, kept: HubDataset, languages: Sequence[str], training: Sequence[str]
) -> Iterator[Wanted]:
    for language in row.known:
        if (
            languages
            and language not in languages
            and not (language in training and "train" in kept.splits)
        ):
            continue
        for split in kept.splits:
            if split in row.files and (split != "train" or language in training):
                # what picks the step
                own = parse_slice(row.selection)[0] if language in training else ""
                if not languages or language in languages or split in ("train", own):
                    yield Wanted(row, kept, split, language, _places(row, kept, split, language))


def _check_languages(found: Sequence[str], rows: Sequence[tuple[Task, HubDataset]]) -> None:
    known = list(dict.fromkeys(("en", *(code for row, _ in rows for code in row.known))))
    for language in found:
        if language not in known:
            raise XittError(
                f"{' '.join(row.name for row, _ in rows)}: {unknown('language', language, known)}"
            )


def _places(row: Task, kept: HubDataset, split: str, language: str) -> Places:
    """Where the task's row looks first for the split in one file: the hub has no say in it."""
    file = Path(
        in_language(next(pattern for pattern in row.files[split] if " + " not in pattern), language)
    )
    labels = Path(in_language(row.gold[split][0], language)) if split in kept.apart else None
    other = row.options.get("other")
    return Places(file, labels, file.with_name(str(other).format(lang=language)) if other else None)


def _trees(
    rows: Sequence[tuple[Task, HubDataset]],
    asked: Mapping[str, str | None],
    revisions: Mapping[str, str],
    record: Mapping[str, Any],
    tell: Tell,
) -> dict[tuple[str, str], wire.Tree]:
    """(task, repository) -> its files at the revision that is asked for, recorded, or current."""
    repos = {
        row.name: list(dict.fromkeys(part.repo for parts in kept.splits.values() for part in parts))
        for row, kept in rows
    }
    every = list(dict.fromkeys(repo for own in repos.values() for repo in own))
    for repo, revision in revisions.items():
        if repo not in every:
            raise XittError(unknown("repository", repo, every))
        if not _COMMIT.fullmatch(revision):
            raise XittError(f"{repo}@{revision}: write all 40 digits of the commit")
    trees: dict[tuple[str, str], wire.Tree] = {}
    known: dict[tuple[str, str | None], wire.Tree] = {}
    for name, own in repos.items():
        if asked[name] and len(own) > 1:
            raise XittError(
                f"{name}@{asked[name]}: {name} is made of {', '.join(own)}; give --revision"
                " REPOSITORY=COMMIT for each"
            )
        for repo in own:
            pinned = record["pins"].get(name, {}).get(repo)
            revision = asked[name] or revisions.get(repo) or pinned
            if (repo, revision) not in known:
                known[repo, revision] = wire.tree(repo, revision)
                how = "as asked" if revision != pinned else "as before"
                tell(f"{repo}@{known[repo, revision].revision} ({how if revision else 'current'})")
            trees[name, repo] = known[repo, revision]
    return trees


def _pieces(
    one: Wanted, trees: Mapping[tuple[str, str], wire.Tree], notes: list[str]
) -> Wanted | None:
    """With its files on the hub; None, and a note, where the hub lacks what a task can do
    without."""
    code = one.hub_dataset.codes.get(one.language, one.language)
    pieces = []
    for part in one.hub_dataset.splits[one.split]:
        tree = trees[one.task.name, part.repo]
        config = part.config.format(lang=one.language, code=code)
        try:
            splits = tree.config(config, only=config == part.config)
            if part.split not in splits:
                raise XittError(
                    f"{part.repo}@{tree.revision[:12]} {config}:"
                    f" {unknown('split', part.split, splits)}"
                )
        except XittError as error:
            if audit.needed(one.task, one.split, one.language):
                raise
            notes.append(f"{one.title}: not there, and not needed ({error})")
            return None
        pieces.append(Piece(part, config, tree, splits[part.split]))
    return Wanted(one.task, one.hub_dataset, one.split, one.language, one.places, tuple(pieces))


def _check_size(left: Sequence[Wanted], most: int) -> None:
    sizes = {
        (piece.part.repo, remote.path): remote.size
        for one in left
        for piece in one.pieces
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
        found = json.loads(text_of(path))
        if found["format"] != FORMAT:
            raise XittError(f"{path}: is of format {found['format']}, this version reads {FORMAT}")
        if not (isinstance(found["pins"], dict) and isinstance(found["files"], dict)):
            raise KeyError("pins")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise XittError(f"{path}: can't be read ({error!r}); move it away to fetch anew") from None
    return found


def _write_record(to: Path, record: Mapping[str, Any]) -> None:
    part = to / f"{RECORD}.part"
    part.write_text(
        json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
    os.replace(part, to / RECORD)


def _is_whole(one: Wanted, to: Path, record: Mapping[str, Any]) -> bool:
    """Whether every file of it is there as this command wrote it, from the same revisions."""
    for path in one.places.all:
        known = record["files"].get(path.as_posix())
        if not known or known["parts"] != [piece.record() for piece in one.pieces]:
            return False
        if not (to / path).is_file() or wire.file_digest(to / path) != known["sha256"]:
            return False
    return True


def _check_free(left: Sequence[Wanted], to: Path, record: Mapping[str, Any]) -> None:
    """Raise a `XittError` where a file is in the way that this command did not write, or that was
    changed since."""
    for path in _paths(left):
        known = record["files"].get(path.as_posix())
        if (to / path).exists() and (not known or wire.file_digest(to / path) not in known["ours"]):
            raise XittError(
                f"{to / path}: is there, and is not what this command wrote; move it away, or fetch"
                " into another folder"
            )


def _write(one: Wanted, to: Path, record: dict[str, Any]) -> int:
    """Downloads, converts, and names each file only when it is whole and in the record."""
    downloads = [(piece, wire.download(piece.tree, piece.files)) for piece in one.pieces]
    code = one.hub_dataset.codes.get(one.language, one.language)

    def records() -> Iterator[dict[str, Any]]:
        for piece, paths in downloads:
            for remote, path in zip(piece.files, paths, strict=True):
                yield from parquet.rows(
                    path, piece.part, code=code, where=f"{piece.part.repo} {remote.path}"
                )

    final = {path: to / path for path in one.places.all}
    parts = {path: place.with_name(place.name + ".part") for path, place in final.items()}
    for part in parts.values():
        part.parent.mkdir(parents=True, exist_ok=True)
    half = Places(
        *(parts.get(path) for path in (one.places.file, one.places.labels, one.places.other))
    )
    try:
        count = SHAPES[one.hub_dataset.shape](records(), half)
        if not count:
            raise DataError("no row is left")
        for path, part in parts.items():
            sha = wire.file_digest(part)
            before = record["files"].get(path.as_posix(), {}).get("ours", [])
            record["files"][path.as_posix()] = {
                "task": one.task.name,
                "split": one.split,
                "language": one.language,
                "rows": count,
                "sha256": sha,
                # Those before it are ours as well, should this stop between the record and the
                # name.
                "ours": [sha, *(one for one in before if one != sha)][:3],
                "parts": [piece.record() for piece in one.pieces],
                "date": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        _write_record(to, record)
        for path, part in parts.items():
            os.replace(part, final[path])
    except DataError as error:
        raise DataError(f"{one.title}: {error}") from None
    except OSError as error:  # a full disk, a folder that may not be written
        raise XittError(
            f"{one.title}: can't be written ({error}); the same command goes on from here"
        ) from None
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return count
