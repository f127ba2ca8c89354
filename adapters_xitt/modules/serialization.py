"""Our own form: `module.safetensors` and `manifest.json`, nothing else.

Reading is strict: another format version, a field of another type, a tensor missing or too many,
another digest are refused by name."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adapters_xitt import hashing
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.hashing import tensors_digest
from adapters_xitt.modules.manifest import FORMAT, Manifest, Module, problems, tensor_problems
from adapters_xitt.safe_files import (
    TensorInfo,
    list_files,
    read_header,
    read_json,
    read_metadata,
    read_tensors,
    scan_folder,
    stored_digest,
)
from adapters_xitt.tensor_files import write_tensors

TENSORS, MANIFEST = "module.safetensors", "manifest.json"
AGAIN = "delete the folder and run again, or fetch it again"
SEAL = "manifest"  # in the metadata of the tensors, the manifest's digest; older files have none


@dataclass(frozen=True)
class FolderContents:
    """What a folder of ours holds, and everything that is wrong with it."""

    manifest: Manifest | None  # None where it can't be read
    tensors: Mapping[str, TensorInfo]
    problems: tuple[str, ...]


def write_module(module: Module, folder: Path) -> None:
    """Writes the two files into `folder`, which the caller gives its final name once they are
    whole."""
    values = _finite(asdict(module.manifest))
    if wrong := problems(values):  # what reading would refuse
        raise ValueError(f"{module.manifest.role}: no manifest: {'; '.join(wrong)}")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_tensors(
        folder / TENSORS,
        module.tensors,
        {
            "digest": module.manifest.digest,
            "format": str(FORMAT),
            SEAL: hashing.digest(json.loads(text)),
        },
    )
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def _finite(value: Any) -> Any:
    """The value as JSON knows it: the loss of a run that diverged is null."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a module's folder, checked against the digest that its tensors carry."""
    return _manifest(_files(folder))


def _files(folder: Path) -> dict[str, Path]:
    files = list_files(folder, (MANIFEST, TENSORS)) if folder.is_dir() else {}
    if MANIFEST not in files:
        raise XittError(f"{folder}: not a module, {MANIFEST} is missing")
    return files


def _manifest(files: Mapping[str, Path]) -> Manifest:
    path = files[MANIFEST]
    values = read_json(path)
    Problems(str(path), problems(values)).raise_if_any()
    if TENSORS in files and (problem := _edited(values, files[TENSORS])):
        raise XittError(f"{path}: {problem}")
    return Manifest(**values)


def _edited(values: Mapping[str, Any], tensors: Path) -> str:
    """Whether a manifest is another than its tensors were written with; empty where it isn't."""
    stated = read_metadata(tensors).get(SEAL)
    return (
        ""
        if stated in (None, hashing.digest(values))
        else (f"another manifest than {TENSORS} was written with: changed or damaged; {AGAIN}")
    )


def read_module(folder: Path) -> Module:
    """The module in `folder`, its tensors checked against its manifest and digest."""
    files = _files(folder)
    manifest = _manifest(files)
    if TENSORS not in files:
        raise XittError(f"{folder / TENSORS}: missing; the manifest alone is no module")
    wrong = tensor_problems(manifest, _shapes(read_header(files[TENSORS])))
    Problems(str(files[TENSORS]), wrong).raise_if_any()
    tensors = read_tensors(files[TENSORS])
    if problem := _altered(tensors_digest(tensors), manifest):
        raise XittError(f"{files[TENSORS]}: {problem}")
    return Module(manifest, tensors)


def _shapes(header: Mapping[str, TensorInfo]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (info.dtype, info.shape) for name, info in header.items()}


def _altered(digest: str, manifest: Manifest) -> str:
    return (
        ""
        if digest == manifest.digest
        else (
            f"its tensors have digest {digest[:12]}, the manifest says {manifest.digest[:12]}: the"
            f" file was changed or damaged; {AGAIN}"
        )
    )


def inspect_folder(folder: Path) -> FolderContents:
    """Everything that can be known of a module's folder without building it, every problem
    included."""
    manifest: Manifest | None = None
    files, wrong = scan_folder(folder, (MANIFEST, TENSORS))
    if MANIFEST in files:
        manifest, more = _inspect_manifest(files)
        wrong += more
    elif not wrong:
        wrong.append(f"{folder}: not a module, {MANIFEST} is missing")
    if TENSORS not in files:
        missing = f"{folder / TENSORS}: missing; the manifest alone is no module"
        return FolderContents(manifest, {}, tuple(wrong or [missing]))
    header, more = _inspect_tensors(files[TENSORS], manifest)
    return FolderContents(manifest, header, tuple([*wrong, *more]))


def _inspect_manifest(files: Mapping[str, Path]) -> tuple[Manifest | None, list[str]]:
    """The manifest, None where it can't be read, and everything that is wrong with it."""
    path = files[MANIFEST]
    try:
        values = read_json(path)
        wrong = problems(values)
        if not wrong and TENSORS in files and (edited := _edited(values, files[TENSORS])):
            wrong = [edited]
    except XittError as error:
        return None, [str(error)]
    return None if wrong else Manifest(**values), [f"{path}: {problem}" for problem in wrong]


def _inspect_tensors(
    path: Path, manifest: Manifest | None
) -> tuple[Mapping[str, TensorInfo], list[str]]:
    """What the file of tensors says it holds, and everything that is wrong with it."""
    header: Mapping[str, TensorInfo] = {}
    try:
        header = read_header(path)
        if manifest is None:
            return header, []
        wrong = tensor_problems(manifest, _shapes(header))
        altered = _altered(stored_digest(path), manifest)
        stated = read_metadata(path).get("digest", manifest.digest)
        if not altered and stated != manifest.digest:
            altered = f"its header says digest {stated[:12]!a}, the manifest {manifest.digest[:12]}"
        return header, [f"{path}: {problem}" for problem in (*wrong, altered) if problem]
    except XittError as error:
        return header, [str(error)]
