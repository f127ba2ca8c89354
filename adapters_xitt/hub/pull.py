"""Brings a repository's files here: by an allow-list of names, within caps, checked, into a folder
of its own."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from requests import exceptions

from adapters_xitt import integrity
from adapters_xitt.atomic import whole_folder
from adapters_xitt.errors import XittError
from adapters_xitt.hashing import file_digest
from adapters_xitt.hub.listing import RemoteFile, commit_of, list_files
from adapters_xitt.hub.references import Reference, is_commit
from adapters_xitt.hub.wire import again, readable_errors
from adapters_xitt.text import printable

if TYPE_CHECKING:
    from typing_extensions import Buffer

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pulled:
    """A commit of a repository, here."""

    folder: Path
    repo: str
    commit: str
    left: tuple[str, ...] = ()  # files that no pattern allows, left on the hub


class _Capped(io.BufferedWriter):
    """A file that takes no more bytes than were announced: a server may send without end."""

    def __init__(self, path: Path, most: int) -> None:
        super().__init__(io.FileIO(path, "w"))
        self.path, self.most = path, most

    def write(self, data: Buffer, /) -> int:
        """Writes bytes, or raises where they are too many."""
        if self.tell() + memoryview(data).nbytes > self.most:
            raise XittError(
                f"{self.path}: more than the {self.most:,} bytes that the hub announced"
            )
        return super().write(data)


@dataclass(frozen=True)
class Selection:
    """Which files of a repository are taken, and how much they may be."""

    patterns: Sequence[str]  # of their paths
    needed: Sequence[str] = ()  # without which it is none of ours
    most_files: int = 64
    most_bytes: int = 2_000_000_000

    def allows(self, path: str) -> bool:
        """Whether a file is taken; `*` in a pattern stays within one folder."""
        return any(_fits(pattern, path) for pattern in self.patterns)


def pull(
    wanted: Reference,
    into: Path,
    selection: Selection,
    *,
    check: Callable[[Path], None] = lambda folder: None,
    tell: Tell = lambda line: None,
) -> Pulled:
    """The files of a commit that `selection` allows, as a folder of `into`.

    A branch, or none, is resolved to its commit and told. Count, sizes and room on the disk are
    checked against the listing before anything is downloaded; the folder takes its name when every
    file has the size and the digest that the listing gives and `check` does not refuse it. What is
    here already is not asked for again."""
    repo, revision = wanted.repo, wanted.revision
    commit = revision if revision and is_commit(revision) else commit_of(repo, revision)
    if commit != revision:
        tell(
            f"{repo}: {revision or 'main'} is commit {commit}; pin it as {Reference(repo, commit)}"
        )
    final = into / f"{repo.replace('/', '--')}@{commit}"
    if final.is_dir() and _whole(final, tell):
        return Pulled(final, repo, commit)
    listed = list_files(repo, commit)
    chosen = [remote for remote in listed if selection.allows(remote.path)]
    left = tuple(remote.path for remote in listed if remote not in chosen)
    _check_selection(Reference(repo, commit), selection, chosen, left)
    with readable_errors(repo, commit):
        final.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(final.parent).free
        if (size := sum(remote.size for remote in chosen)) > free:
            raise XittError(
                f"{repo}@{commit[:12]}: {size:,} bytes, but the disk of {final.parent} has {free:,}"
                " left"
            )
        with whole_folder(final) as work:
            for remote in chosen:
                _download(repo, commit, remote, work / remote.path)
            check(work)
            integrity.seal_folder(work, final.name)
    if left:
        tell(f"{repo}@{commit[:12]}: left on the hub: {printable(', '.join(left), most=300)}")
    return Pulled(final, repo, commit, left)


def _whole(folder: Path, tell: Tell) -> bool:
    """Whether a pulled folder is as it was pulled; one of an older version says nothing of that."""
    try:
        if (folder / integrity.SEALS).is_file():
            integrity.check_folder(folder, folder.name)
        return True
    except integrity.Damaged as error:
        tell(f"{error}; it is pulled again")
        return False


def _fits(pattern: str, path: str) -> bool:
    parts, names = pattern.split("/"), path.split("/")
    return len(parts) == len(names) and all(
        fnmatchcase(name, part) for name, part in zip(names, parts, strict=True)
    )


def _check_selection(
    pinned: Reference, selection: Selection, chosen: Sequence[RemoteFile], left: Sequence[str]
) -> None:
    """Raises where a listing holds too much, or lacks what is needed."""
    name = f"{pinned.repo}@{str(pinned.revision)[:12]}"
    there = {remote.path for remote in chosen}
    if missing := [file for file in selection.needed if file not in there]:
        has = printable(", ".join([*there, *left]) or "nothing", most=300)
        raise XittError(f"{name}: not a module of ours: {', '.join(missing)} missing; it has {has}")
    if len(chosen) > selection.most_files:
        raise XittError(
            f"{name}: refused: {len(chosen):,} files, over {selection.most_files:,}; nothing was"
            " downloaded"
        )
    size = sum(remote.size for remote in chosen)
    if size > selection.most_bytes:
        large = max(chosen, key=lambda remote: remote.size)
        raise XittError(
            f"{name}: refused: {size:,} bytes, over {selection.most_bytes:,} (the largest is"
            f" {large.path}, {large.size:,}); nothing was downloaded"
        )


def _download(repo: str, commit: str, remote: RemoteFile, path: Path) -> None:
    """One file, whole and as the listing says; goes on where the line broke."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    path.parent.mkdir(parents=True, exist_ok=True)
    url = hf_hub_url(repo, remote.path, revision=commit)
    with _Capped(path, remote.size) as file:
        # The library tries again itself at 5xx and where no answer comes, but not where an answer
        # breaks off.
        again(
            lambda: http_get(
                url,
                file,
                headers=build_hf_headers(),
                resume_size=file.tell(),
                expected_size=remote.size,
                displayed_filename=remote.path,
            ),
            statuses=(429,),
            breaks=(exceptions.ChunkedEncodingError,),
        )
    if not _same(path, remote):
        raise XittError(
            f"{repo}@{commit[:12]} {remote.path}: its {remote.size:,} bytes have not the digest"
            " that the hub lists: changed or damaged; nothing is kept, pull again"
        )


def _same(path: Path, remote: RemoteFile) -> bool:
    """Whether a file has the listed digest: SHA-256 of a large one, else git's SHA-1."""
    if remote.sha256:
        return file_digest(path) == remote.sha256
    sha = hashlib.sha1(f"blob {remote.size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest() == remote.blob
