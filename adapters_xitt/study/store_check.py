"""Every value of a store read whole, as whoever uses it reads it: what is as it was written, and
what is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters_xitt import integrity
from adapters_xitt.errors import XittError
from adapters_xitt.modules import serialization
from adapters_xitt.modules.serialization import SEAL
from adapters_xitt.safe_files import read_metadata
from adapters_xitt.study.store import Store
from adapters_xitt.study.store_files import read_data_set, read_grid

WHOLE, OLDER, DAMAGED = "whole", "older format", "damaged"
RUN = "run its recipe again"


@dataclass(frozen=True)
class Finding:
    """One value of a store."""

    kind: str
    path: Path
    state: str  # WHOLE | OLDER, which carries no digest | DAMAGED
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class _Kind:
    """The values of one folder of the store."""

    paths: Callable[[Store], list[Path]]
    read: Callable[[Store, Path], Any]  # raises a XittError where a value is not what was written
    digest: Callable[[Path], bool]  # whether a value carries one
    remedy: str


def check(store: Store) -> Iterator[Finding]:
    """A finding for every value, kind by kind; changes nothing."""
    for name, kind in _KINDS.items():
        for path in kind.paths(store):
            try:
                kind.read(store, path)
                yield Finding(name, path, WHOLE if kind.digest(path) else OLDER)
            except XittError as error:
                problem = "; ".join(str(error).splitlines())
                yield Finding(name, path, DAMAGED, problem, kind.remedy)


def _children(folder: str, pattern: str = "[!.]*") -> Callable[[Store], list[Path]]:
    return lambda store: sorted((store.root / folder).glob(pattern))


def _read_module(store: Store, folder: Path) -> None:
    if problems := serialization.inspect_folder(folder).problems:
        raise XittError("; ".join(problems))
    for exposure in store.manifest(folder.name).exposure:
        if exposure["data"]:
            store.load_data_set(exposure["data"])


def _check_sealed_folder(store: Store, folder: Path) -> None:
    if (folder / integrity.SEALS).is_file():
        integrity.check_folder(folder, folder.name)


def _is_sealed(path: Path) -> bool:
    """Whether tensors were written under a digest; older ones, which are made again, carry neither
    that nor a name."""
    return bool(read_metadata(path).keys() & {integrity.SEAL, "name"})


def _check_sealed_tensors(store: Store, path: Path) -> None:
    if _is_sealed(path):
        integrity.read_sealed(path, path.stem)


def _has_seals(folder: Path) -> bool:
    return (folder / integrity.SEALS).is_file()


_KINDS = {
    "modules": _Kind(
        _children("modules"),
        _read_module,
        lambda path: SEAL in read_metadata(path / serialization.TENSORS),
        "move the folder away, and run its recipe again or take the module in again",
    ),
    "results": _Kind(
        _children("results"),
        lambda store, path: store.read_predictions(path.name),
        lambda path: integrity.carries_digest(path / "result.json"),
        f"{RUN}: it is set aside and scored again",
    ),
    "names": _Kind(
        _children("names", "[!.]*.json"),
        lambda store, path: store.read_name(path.stem),
        integrity.carries_digest,
        "delete the file, and give the name again (--name)",
    ),
    "data sets": _Kind(
        _children("data", "[!.]*.json"),
        lambda store, path: read_data_set(path),
        integrity.carries_digest,
        "move the file away, and train or take in again what names it",
    ),
    "half-trained rows": _Kind(
        _children("progress"), _check_sealed_tensors, _is_sealed, f"{RUN}: that module begins again"
    ),
    "sentence vectors": _Kind(
        _children("embeddings"),
        _check_sealed_tensors,
        _is_sealed,
        "none needed: they are made again when they are read",
    ),
    "token caches": _Kind(
        _children("tokens"),
        _check_sealed_folder,
        _has_seals,
        "none needed: it is made again when it is read",
    ),
    "demo worlds": _Kind(
        _children("worlds"),
        _check_sealed_folder,
        _has_seals,
        "none needed: it is made again when it is read",
    ),
    "pulled folders": _Kind(_children("hub"), _check_sealed_folder, _has_seals, "pull it again"),
    "grids": _Kind(
        _children("runs", "[!.]*/grid.json"),
        lambda store, path: read_grid(path, path.parent.name),
        integrity.carries_digest,
        f"{RUN}: only what is missing is scored, and the grid is written anew",
    ),
}
