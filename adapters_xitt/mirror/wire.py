"""What is asked of a hub: which commit, which Parquet files it has, and those files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from adapters_xitt.errors import XittError, unknown

MAIN, CONVERTED = "main", "refs/convert/parquet"
_NAME = re.compile(r"[\w.+=@-]+(/[\w.+=@-]+)*\.parquet")
# config/split-00000-of-00001[-hash].parquet as `datasets` pushes, config/split/0000.parquet as the hub converts;
# the folder of the one configuration is called data, default or nothing at all.
_PUSHED = re.compile(r"(?:(?P<config>.+)/)?(?P<split>[\w.]+)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.parquet")
_SERVED = re.compile(r"(?P<config>.+)/(?P<split>[\w.]+)/\d{4}\.parquet")
_ONE = {"data", "default", "plain_text", ""}


@dataclass(frozen=True)
class Remote:
    """A file on the hub."""

    path: str
    size: int
    sha256: str | None  # None where the hub keeps it outside its large-file store


@dataclass(frozen=True)
class Tree:
    """The Parquet files of one commit: configuration -> split -> files in order."""

    repo: str
    revision: str
    files: Mapping[str, Mapping[str, tuple[Remote, ...]]]

    def config(self, name: str, *, only: bool) -> Mapping[str, tuple[Remote, ...]]:
        """The splits of a configuration; a `XittError` with those that there are. `only`: the data set has but this
        one, and its folder may be called otherwise."""
        if name in self.files:
            return self.files[name]
        if only and len(self.files) == 1 and set(self.files) <= _ONE:
            return next(iter(self.files.values()))
        raise XittError(f"{self.repo}@{self.revision[:12]}: {unknown('configuration', name, sorted(self.files))}")


@contextmanager
def _spoken(repo: str, revision: str | None) -> Iterator[None]:
    """The hub's errors as sentences."""
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        yield
    except RevisionNotFoundError:
        raise XittError(f"{repo}: the hub has no revision {revision} of it") from None
    except GatedRepoError:
        raise XittError(f"{repo}: its owner asks for an agreement; accept it on the hub's page and log in") from None
    except RepositoryNotFoundError:
        raise XittError(f"{repo}: the hub has no such data set, or it is not public") from None
    except HFValidationError as error:
        raise XittError(f"{repo}: not a repository's name ({error})") from None
    except (EntryNotFoundError, OSError) as error:  # every other error of the hub's and of requests is an OSError
        if isinstance(error, EntryNotFoundError) and not isinstance(error, LocalEntryNotFoundError):
            raise XittError(f"{repo}@{revision}: the hub lacks a file that it listed ({error})") from None
        raise XittError(f"{repo}: the hub can't be reached or broke off ({type(error).__name__}: "
                        f"{str(error).splitlines()[0][:160] if str(error) else 'no reason given'}); the same command "
                        "goes on where this one stopped") from None


def tree(repo: str, revision: str | None) -> Tree:
    """The Parquet files of a commit; without one those of the current commit of main, or of the hub's own conversion
    where main has none."""
    if revision:
        found = _tree(repo, revision)
        if not found.files:
            raise XittError(f"{repo}@{revision}: has no Parquet file; take a commit of {CONVERTED}")
        return found
    found = _tree(repo, _commit(repo, MAIN))
    if found.files:
        return found
    try:
        found = _tree(repo, _commit(repo, CONVERTED))
    except XittError as error:
        raise XittError(f"{repo}: has no Parquet file on main, and on {CONVERTED}: {error}") from None
    if not found.files:
        raise XittError(f"{repo}: has no Parquet file, neither on main nor on {CONVERTED}")
    return found


def _commit(repo: str, revision: str) -> str:
    from huggingface_hub import HfApi

    with _spoken(repo, revision):
        found = HfApi().repo_info(repo, repo_type="dataset", revision=revision).sha
    if not re.fullmatch(r"[0-9a-f]{40}", str(found)):
        raise XittError(f"{repo}: expected a 40-digit commit of {revision}, found {str(found)[:60]!r}")
    return found


def _tree(repo: str, revision: str) -> Tree:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with _spoken(repo, revision):
        listed = [one for one in HfApi().list_repo_tree(repo, recursive=True, revision=revision, repo_type="dataset")
                  if isinstance(one, RepoFile)]
    found: dict[str, dict[str, list[Remote]]] = {}
    for one in sorted(listed, key=lambda file: file.path):
        if ".." in PurePosixPath(one.path).parts or one.path.startswith("/") or "\\" in one.path:
            raise XittError(f"{repo}@{revision[:12]}: refused, because it lists {one.path!r}, which would leave its "
                            "folder")
        if not _NAME.fullmatch(one.path):
            continue
        name = _PUSHED.fullmatch(one.path) or _SERVED.fullmatch(one.path)
        if name:
            remote = Remote(one.path, one.size, one.lfs.sha256 if one.lfs else None)
            found.setdefault(name["config"] or "", {}).setdefault(name["split"], []).append(remote)
    return Tree(repo, revision, {config: {split: tuple(files) for split, files in splits.items()}
                                 for config, splits in found.items()})


def download(tree: Tree, files: Sequence[Remote]) -> list[Path]:
    """The files in the hub library's cache, whole: it resumes what was cut off, and sizes and digests are checked."""
    from huggingface_hub import hf_hub_download

    found = []
    for remote in files:
        with _spoken(tree.repo, tree.revision):
            path = Path(hf_hub_download(tree.repo, remote.path, revision=tree.revision, repo_type="dataset"))
        size = path.stat().st_size
        if size != remote.size or (remote.sha256 and file_digest(path) != remote.sha256):
            path.resolve().unlink()  # or the cache would serve it for ever
            path.unlink(missing_ok=True)
            raise XittError(f"{tree.repo}@{tree.revision[:12]} {remote.path}: expected {remote.size:,} bytes with the "
                            f"digest of the hub's list, found {size:,} others; it is deleted, fetch again")
        found.append(path)
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
