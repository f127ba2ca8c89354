"""What is asked of a hub: which commit, which Parquet files it has, and those files."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.hub import spoken
from adapters_xitt.hub.bounds import at_most

MAIN, CONVERTED = "main", "refs/convert/parquet"
MOST_LISTED = 100_000  # entries of a data set that are looked at; a listing may not go on for ever
_NAME = re.compile(r"[\w.+=@-]+(/[\w.+=@-]+)*\.parquet")
# config/split-00000-of-00001[-hash].parquet as `datasets` pushes, config/split/0000.parquet as the
# hub converts; the folder of the one configuration is called data, default or nothing at all.
_PUSHED = re.compile(
    r"(?:(?P<config>.+)/)?(?P<split>[\w.]+)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.parquet"
)
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
        """The splits of a configuration; a `XittError` with those that there are. `only`: the data
        set has but this one, and its folder may be called otherwise."""
        if name in self.files:
            return self.files[name]
        if only and len(self.files) == 1 and set(self.files) <= _ONE:
            return next(iter(self.files.values()))
        raise XittError(
            f"{self.repo}@{self.revision[:12]}:"
            f" {unknown('configuration', name, sorted(self.files))}"
        )


def tree(repo: str, revision: str | None) -> Tree:
    """The Parquet files of a commit; without one those of the current commit of main, or of the
    hub's own conversion where main has none."""
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
        raise XittError(
            f"{repo}: has no Parquet file on main, and on {CONVERTED}: {error}"
        ) from None
    if not found.files:
        raise XittError(f"{repo}: has no Parquet file, neither on main nor on {CONVERTED}")
    return found


def _commit(repo: str, revision: str) -> str:
    from huggingface_hub import HfApi

    with spoken(repo, revision, what="data set"):
        found = HfApi().repo_info(repo, repo_type="dataset", revision=revision).sha
    if not re.fullmatch(r"[0-9a-f]{40}", str(found)):
        raise XittError(
            f"{repo}: expected a 40-digit commit of {revision}, found {str(found)[:60]!r}"
        )
    return found


def _tree(repo: str, revision: str) -> Tree:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    with spoken(repo, revision, what="data set"):
        entries = list(
            islice(
                HfApi().list_repo_tree(
                    repo, recursive=True, revision=revision, repo_type="dataset"
                ),
                MOST_LISTED + 1,
            )
        )
    if len(entries) > MOST_LISTED:
        raise XittError(
            f"{repo}@{revision[:12]}: refused, because it lists more than {MOST_LISTED:,} files"
        )
    listed = [entry for entry in entries if isinstance(entry, RepoFile)]
    found: dict[str, dict[str, list[Remote]]] = {}
    for one in sorted(listed, key=lambda file: file.path):
        if ".." in PurePosixPath(one.path).parts or one.path.startswith("/") or "\\" in one.path:
            raise XittError(
                f"{repo}@{revision[:12]}: refused, because it lists {one.path!r}, which would leave"
                " its folder"
            )
        if not _NAME.fullmatch(one.path):
            continue
        name = _PUSHED.fullmatch(one.path) or _SERVED.fullmatch(one.path)
        if name:
            remote = Remote(one.path, one.size, one.lfs.sha256 if one.lfs else None)
            found.setdefault(name["config"] or "", {}).setdefault(name["split"], []).append(remote)
    return Tree(
        repo,
        revision,
        {
            config: {split: tuple(files) for split, files in splits.items()}
            for config, splits in found.items()
        },
    )


def download(tree: Tree, files: Sequence[Remote]) -> list[Path]:
    """The files in the hub library's cache, whole: it resumes what was cut off, and sizes and
    digests are checked."""
    from huggingface_hub import hf_hub_download

    found = []
    for remote in files:
        with spoken(tree.repo, tree.revision, what="data set"), at_most(remote.size):
            path = Path(
                hf_hub_download(tree.repo, remote.path, revision=tree.revision, repo_type="dataset")
            )
        size = path.stat().st_size
        if size != remote.size or (remote.sha256 and file_digest(path) != remote.sha256):
            path.resolve().unlink()  # or the cache would serve it for ever
            path.unlink(missing_ok=True)
            raise XittError(
                f"{tree.repo}@{tree.revision[:12]} {remote.path}: expected {remote.size:,} bytes"
                f" with the digest of the hub's list, found {size:,} others; it is deleted, fetch"
                " again"
            )
        found.append(path)
    return found


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
