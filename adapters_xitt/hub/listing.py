"""Looking at a hub: the commit of a branch, the files of a commit, the repositories that match some
words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from adapters_xitt.errors import XittError
from adapters_xitt.hub.references import is_commit
from adapters_xitt.hub.wire import again, readable_errors
from adapters_xitt.text import printable

if TYPE_CHECKING:
    from huggingface_hub import ModelInfo

MODEL, DATASET = "model", "dataset"  # the hub's types of repositories
KINDS = {MODEL: "repository", DATASET: "data set"}
# entries of a repository that are looked at; a listing may not go on for ever
MOST_LISTED = {MODEL: 10_000, DATASET: 100_000}


@dataclass(frozen=True)
class RemoteFile:
    """A file of a commit."""

    path: str
    size: int  # bytes
    blob: str  # git's SHA-1 of it; of a large file that of its pointer
    sha256: str | None  # of a large file; None where git itself keeps it


@dataclass(frozen=True)
class Repository:
    """A repository that a search found."""

    repo: str
    commit: str
    tags: tuple[str, ...]
    downloads: int
    changed: str  # year-month-day; empty where the hub does not say


def commit_of(repo: str, revision: str | None, *, repo_type: str = MODEL) -> str:
    """The 40-digit commit that a branch or tag stands for now; without one, that of main."""
    from huggingface_hub import HfApi

    with readable_errors(repo, revision, what=KINDS[repo_type]):
        info = again(lambda: HfApi().repo_info(repo, revision=revision, repo_type=repo_type))
    commit = str(info.sha)
    if not is_commit(commit):
        raise XittError(
            f"{repo}: expected a 40-digit commit of {revision or 'main'}, found"
            f" {printable(commit, most=60)!r}"
        )
    return commit


def list_files(
    repo: str, commit: str, *, repo_type: str = MODEL, suffix: str = ""
) -> list[RemoteFile]:
    """The files of a commit whose names end in `suffix`, by path; refused where one would leave its
    folder or two would be one."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    most = MOST_LISTED[repo_type]

    def ask() -> list[object]:
        entries = HfApi().list_repo_tree(repo, recursive=True, revision=commit, repo_type=repo_type)
        return list(islice(entries, most + 1))

    with readable_errors(repo, commit, what=KINDS[repo_type]):
        listed = again(ask)
    refused = f"{repo}@{commit[:12]}: refused, because it lists"
    if len(listed) > most:
        raise XittError(f"{refused} more than {most:,} files")
    files = [
        RemoteFile(entry.path, entry.size, entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
        for entry in listed
        if isinstance(entry, RepoFile) and str(entry.path).endswith(suffix)
    ]
    _check_paths(files, refused)
    return sorted(files, key=lambda file: file.path)


def _check_paths(files: Sequence[RemoteFile], refused: str) -> None:
    """Raises where a path leaves its folder, a size is none, or two files would be one."""
    paths: dict[str, str] = {}
    for file in files:
        shown = repr(printable(file.path, most=200))
        if not _stays(file.path):
            raise XittError(f"{refused} {shown}, which would leave its folder")
        if not isinstance(file.size, int) or file.size < 0:
            size = printable(file.size, most=40)
            raise XittError(f"{refused} {shown} with a size of {size}")
        if other := paths.get(file.path.casefold()):
            other = repr(printable(other, most=200))
            raise XittError(f"{refused} {other} and {shown}, which are one file on some disks")
        paths[file.path.casefold()] = file.path


def _stays(path: str) -> bool:
    """Whether a path stays in its folder, on every system."""
    return (
        isinstance(path, str)
        and path.isprintable()
        and not set(path) & set("\\:")
        and not path.startswith("/")
        and path == str(PurePosixPath(path))
        and ".." not in PurePosixPath(path).parts
        and 0 < len(path) < 500
    )


def search(
    words: Sequence[str], *, filters: Sequence[str] = (), limit: int = 20
) -> list[Repository]:
    """The public repositories, and those that the token may see, that match words and have every
    tag in `filters`."""
    from huggingface_hub import HfApi

    query = " ".join(words)

    def ask() -> list[ModelInfo]:
        models = HfApi().list_models(
            search=query or None, filter=list(filters) or None, limit=limit, full=True
        )
        return list(islice(models, limit))

    with readable_errors(f"search {query!r}"):
        models = again(ask)
    return [
        Repository(
            printable(model.id, most=200),
            model.sha or "",
            tuple(printable(tag, most=60) for tag in model.tags or ()),
            model.downloads or 0,
            model.last_modified.date().isoformat() if model.last_modified else "",
        )
        for model in models
    ]
