"""Looking at a hub: the commit of a branch, the files of a commit, the repositories that match some
words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from adapters_xitt.errors import XittError
from adapters_xitt.hub.references import is_commit
from adapters_xitt.hub.wire import again, plain, spoken

MOST_LISTED = 10_000  # entries of a repository that are looked at; a listing may not go on for ever


@dataclass(frozen=True)
class Remote:
    """A file of a commit."""

    path: str
    size: int  # bytes
    blob: str  # git's SHA-1 of it; of a large file that of its pointer
    sha256: str | None  # of a large file; None where git itself keeps it


@dataclass(frozen=True)
class Found:
    """A repository that a search found."""

    repo: str
    commit: str
    tags: tuple[str, ...]
    downloads: int
    changed: str  # year-month-day; empty where the hub does not say


def commit_of(repo: str, revision: str | None) -> str:
    """The 40-digit commit that a branch or tag stands for now; without one, that of main."""
    from huggingface_hub import HfApi

    with spoken(repo, revision):
        found = again(lambda: HfApi().model_info(repo, revision=revision)).sha
    if not is_commit(found):
        raise XittError(
            f"{repo}: expected a 40-digit commit of {revision or 'main'}, found"
            f" {plain(found, 60)!r}"
        )
    return found


def tree(repo: str, commit: str) -> list[Remote]:
    """The files of a commit, by path; refused where one would leave its folder or two would be
    one."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with spoken(repo, commit):
        listed = again(
            lambda: list(
                islice(
                    HfApi().list_repo_tree(repo, recursive=True, revision=commit), MOST_LISTED + 1
                )
            )
        )
    if len(listed) > MOST_LISTED:
        raise XittError(
            f"{repo}@{commit[:12]}: refused, because it lists more than {MOST_LISTED:,} files"
        )
    files = [
        Remote(one.path, one.size, one.blob_id, one.lfs.sha256 if one.lfs else None)
        for one in listed
        if isinstance(one, RepoFile)
    ]
    seen: dict[str, str] = {}
    for one in files:
        if not _stays(one.path):
            raise XittError(
                f"{repo}@{commit[:12]}: refused, because it lists {plain(one.path)!r}, which would"
                " leave its folder"
            )
        if not isinstance(one.size, int) or one.size < 0:
            raise XittError(
                f"{repo}@{commit[:12]}: refused, because it lists {plain(one.path)!r} with a size"
                f" of {plain(one.size, 40)}"
            )
        if other := seen.get(one.path.casefold()):
            raise XittError(
                f"{repo}@{commit[:12]}: refused, because it lists {plain(other)!r} and "
                f"{plain(one.path)!r}, which are one file on some disks"
            )
        seen[one.path.casefold()] = one.path
    return sorted(files, key=lambda file: file.path)


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


def search(words: Sequence[str], *, filters: Sequence[str] = (), limit: int = 20) -> list[Found]:
    """The public repositories, and those that the token may see, that match words and have every
    tag in `filters`."""
    from huggingface_hub import HfApi

    asked = " ".join(words)
    with spoken(f"search {asked!r}"):
        rows = again(
            lambda: list(
                islice(
                    HfApi().list_models(
                        search=asked or None, filter=list(filters) or None, limit=limit, full=True
                    ),
                    limit,
                )
            )
        )
    return [
        Found(
            plain(row.id),
            row.sha or "",
            tuple(plain(tag, 60) for tag in row.tags or ()),
            row.downloads or 0,
            row.last_modified.date().isoformat() if row.last_modified else "",
        )
        for row in rows
    ]
