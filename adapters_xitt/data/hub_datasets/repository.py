"""What is asked of a hub: which commit, which Parquet files it has, and those files."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.hashing import file_digest
from adapters_xitt.hub import DATASET, RemoteFile, commit_of, list_files, readable_errors
from adapters_xitt.hub.bounds import at_most

MAIN, CONVERTED = "main", "refs/convert/parquet"
# config/split-00000-of-00001[-hash].parquet as `datasets` pushes, config/split/0000.parquet as the
# hub converts; the folder of the one configuration is called data, default or nothing at all.
_PUSHED = re.compile(
    r"(?:(?P<config>.+)/)?(?P<split>[\w.]+)-\d{5}-of-\d{5}(?:-[0-9a-f]+)?\.parquet"
)
_SERVED = re.compile(r"(?P<config>.+)/(?P<split>[\w.]+)/\d{4}\.parquet")
_DEFAULT_CONFIGS = {"data", "default", "plain_text", ""}


@dataclass(frozen=True)
class Tree:
    """The Parquet files of one commit: configuration -> split -> files in order."""

    repo: str
    revision: str
    files: Mapping[str, Mapping[str, tuple[RemoteFile, ...]]]

    def config(self, name: str, *, only: bool) -> Mapping[str, tuple[RemoteFile, ...]]:
        """The splits of a configuration; a `XittError` with those that there are. `only`: the data
        set has but this one, and its folder may be called otherwise."""
        if name in self.files:
            return self.files[name]
        if only and len(self.files) == 1 and set(self.files) <= _DEFAULT_CONFIGS:
            return next(iter(self.files.values()))
        raise XittError(
            f"{self.repo}@{self.revision[:12]}:"
            f" {unknown('configuration', name, sorted(self.files))}"
        )


def tree(repo: str, revision: str | None) -> Tree:
    """The Parquet files of a commit; without one those of the current commit of main, or of the
    hub's own conversion where main has none."""
    if revision:
        pinned = _parquet_files(repo, revision)
        if not pinned.files:
            raise XittError(f"{repo}@{revision}: has no Parquet file; take a commit of {CONVERTED}")
        return pinned
    pushed = _parquet_files(repo, commit_of(repo, MAIN, repo_type=DATASET))
    if pushed.files:
        return pushed
    try:
        converted = _parquet_files(repo, commit_of(repo, CONVERTED, repo_type=DATASET))
    except XittError as error:
        raise XittError(
            f"{repo}: has no Parquet file on main, and on {CONVERTED}: {error}"
        ) from None
    if not converted.files:
        raise XittError(f"{repo}: has no Parquet file, neither on main nor on {CONVERTED}")
    return converted


def _parquet_files(repo: str, commit: str) -> Tree:
    """The files of a commit whose names say their configuration and split."""
    by_config: dict[str, dict[str, list[RemoteFile]]] = {}
    for file in list_files(repo, commit, repo_type=DATASET, suffix=".parquet"):
        if name := _PUSHED.fullmatch(file.path) or _SERVED.fullmatch(file.path):
            by_split = by_config.setdefault(name["config"] or "", {})
            by_split.setdefault(name["split"], []).append(file)
    files = {
        config: {split: tuple(parts) for split, parts in by_split.items()}
        for config, by_split in by_config.items()
    }
    return Tree(repo, commit, files)


def download(tree: Tree, files: Sequence[RemoteFile]) -> list[Path]:
    """The files in the hub library's cache, whole: it resumes what was cut off, and sizes and
    digests are checked."""
    from huggingface_hub import hf_hub_download

    paths = []
    for remote in files:
        with readable_errors(tree.repo, tree.revision, what="data set"), at_most(remote.size):
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
        paths.append(path)
    return paths
