"""Digests that stored values carry and that are compared whenever they are read.

A JSON object carries its own under `sha256`, a safetensors file in its metadata, a folder of other
files in `digests.json`. What they are digests of includes the name that the value goes by, so that
a file under another's name is found out too."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from adapters_xitt.errors import XittError
from adapters_xitt.hashing import digest, file_digest, tensors_digest
from adapters_xitt.safe_files import (
    MOST_JSON,
    read_arrays,
    read_json,
    read_metadata,
    read_tensors,
    stored_digest,
)
from adapters_xitt.tensor_files import write_tensors

SEAL = "sha256"  # the key of a digest
SEALS = "digests.json"  # in a folder, the digests of its files
MOST_SEALS = 64 * 2**20


class Damaged(XittError):
    """A stored value is not what was written; the message names the file."""


def json_text(value: Mapping[str, Any]) -> str:
    """An object as the text of a file that carries its digest."""
    return (
        json.dumps({**value, SEAL: digest(value)}, indent=1, ensure_ascii=False, allow_nan=False)
        + "\n"
    )


def read_object(
    path: Path, *, most: int = MOST_JSON, older: Collection[str] = ()
) -> dict[str, Any]:
    """The object in a file of `json_text`, without its digest. One from before there were digests
    is taken as it is: it has the keys `older`, and no others."""
    value = _object(path, most)
    stated = value.pop(SEAL, None)
    if stated is None and older and value.keys() == set(older):
        return value
    if stated is None:
        raise Damaged(f"{path}: carries no digest ({SEAL})")
    if stated != digest(value):
        raise Damaged(f"{path}: changed or damaged: what it holds has another digest than it says")
    return value


def carries_digest(path: Path) -> bool:
    """Whether a JSON file has a digest at all; one of an older format has none."""
    return SEAL in _object(path, 2**30)


def _object(path: Path, most: int) -> dict[str, Any]:
    try:
        return read_json(path, most=most)
    except XittError as error:
        raise Damaged(str(error)) from None


def write_sealed(path: Path, tensors: Mapping[str, Any], name: str, **words: str) -> None:
    """Writes tensors with words about them and the `name` that they go by, under one digest."""
    stated = {**words, "name": name}
    write_tensors(path, tensors, {**stated, SEAL: digest([tensors_digest(tensors), stated])})


def read_sealed(path: Path, name: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors and words that `write_sealed` wrote under `name`."""
    try:
        stated, tensors = dict(read_metadata(path)), read_tensors(path)
    except XittError as error:
        raise Damaged(str(error)) from None
    _check_seal(path, name, stated, tensors_digest(tensors))
    return tensors, stated


def read_sealed_arrays(path: Path, name: str) -> tuple[dict[str, Any], str]:
    """The tensors that `write_sealed` wrote under `name` as NumPy's arrays, and their digest,
    without torch."""
    try:
        stated, stored = dict(read_metadata(path)), stored_digest(path)
        _check_seal(path, name, stated, stored)
        return read_arrays(path), stored
    except Damaged:
        raise
    except XittError as error:
        raise Damaged(str(error)) from None


def _check_seal(path: Path, name: str, stated: dict[str, str], tensors: str) -> None:
    """Refuses a file whose words and `tensors` have another digest than it says; takes that digest
    out of the words."""
    seal = stated.pop(SEAL, "")
    if seal != digest([tensors, stated]):
        raise Damaged(f"{path}: changed or damaged: what it holds has another digest than it says")
    if stated["name"] != name:
        raise Damaged(f"{path}: it holds what belongs to {stated['name'][:12]!a}")


def seal_folder(folder: Path, name: str) -> None:
    """Writes the digests of all files in a finished `folder`, and the name that it goes by."""
    digests = {path.relative_to(folder).as_posix(): file_digest(path) for path in _files(folder)}
    (folder / SEALS).write_text(json_text({"name": name, "files": digests}), encoding="utf-8")


def check_folder(folder: Path, name: str) -> None:
    """Refuses a folder of `seal_folder` in which a file is missing, too many or changed."""
    stated = read_object(folder / SEALS, most=MOST_SEALS)
    if stated.get("name") != name:
        raise Damaged(f"{folder}: it holds what belongs to {str(stated.get('name'))[:80]!a}")
    files = {path.relative_to(folder).as_posix(): path for path in _files(folder)}
    if odd := sorted(files.keys() ^ stated["files"].keys()):
        raise Damaged(f"{folder / odd[0]}: {'too many' if odd[0] in files else 'missing'}")
    for relative, path in files.items():
        if file_digest(path) != stated["files"][relative]:
            raise Damaged(f"{path}: changed or damaged: it has another digest than {SEALS} says")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / SEALS)
