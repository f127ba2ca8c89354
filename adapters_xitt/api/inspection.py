"""What lies in a module's folder, or in a file of one, and everything wrong with it; builds no
model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters_xitt import safe_files
from adapters_xitt.api.options import store_root
from adapters_xitt.data.exposure import UNKNOWN
from adapters_xitt.errors import XittError
from adapters_xitt.modules import serialization
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.safe_files import TensorInfo
from adapters_xitt.sharing.bundle import DATA, PARTS
from adapters_xitt.study.store import Store
from adapters_xitt.study.store_files import read_data_set
from adapters_xitt.text import printable

CONFIGS = (
    "adapter_config.json",
    "head_config.json",
    "adapter_fusion_config.json",
    "adapter_setup.json",
)


@dataclass
class Contents:
    """One file that was read: its tensors, or its values."""

    title: str
    tensors: Mapping[str, TensorInfo] | None = None  # name → dtype, shape, bytes
    values: Mapping[str, Any] | None = None


@dataclass
class Inspection:
    """What was found."""

    path: Path
    manifest: Manifest | None = None  # of a module of ours
    contents: list[Contents] = field(default_factory=list)
    files: list[tuple[str, int | None, bool]] = field(default_factory=list)  # name, bytes, read?
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def inspect(path: str | Path, *, store: str | Path | None = None) -> Inspection:
    """What is in the module at `path`, a folder, ours or of adapters or peft, a file, or a name in
    the store, and what is wrong with it. Nothing is built and nothing is run.

    >>> inspection = inspect("a", store="docs")
    >>> inspection.ok, inspection.manifest.trained_on
    (True, 'demo-nli')
    """
    inspection = Inspection(Path(path))
    if inspection.path.is_file():
        _read_file(inspection)
    else:
        if not inspection.path.is_dir():
            inspection.path = _stored(str(path), store)
        _read_folder(inspection)
    return inspection


def _stored(word: str, store: str | Path | None) -> Path:
    stored = Store(store_root(store))
    if "/" in word or word in (".", ".."):
        raise XittError(f"{word}: no such file or folder")
    return stored.module_folder(stored.resolve(word))


def _read_file(inspection: Inspection) -> None:
    path = inspection.path
    try:
        if path.suffix == ".json":
            values = safe_files.read_json(path)
            inspection.contents.append(Contents(path.name, values=values))
        else:
            tensors = safe_files.read_header(path)
            inspection.contents.append(Contents(path.name, tensors=tensors))
    except XittError as error:
        inspection.problems.append(str(error))


def _read_folder(inspection: Inspection) -> None:
    folder = inspection.path
    names = safe_files.entries(folder)
    is_ours = serialization.MANIFEST in names or serialization.TENSORS in names
    patterns = (serialization.MANIFEST, *CONFIGS, "*.safetensors")
    paths, problems = safe_files.scan_folder(folder, patterns)
    if is_ours:
        module = serialization.inspect_folder(folder)
        inspection.manifest = module.manifest
        inspection.contents.append(Contents(serialization.TENSORS, tensors=module.tensors))
        problems = list(dict.fromkeys([*module.problems, *problems, *_problems_below(folder)]))
    for name, path in paths.items():
        if name in (serialization.MANIFEST, serialization.TENSORS):
            continue
        try:
            if name in CONFIGS:
                values = safe_files.read_json(path)
                title = f"{name}, {library_of(name, values)}"
                inspection.contents.append(Contents(title, values=values))
            elif path.suffix == ".safetensors":
                tensors = safe_files.read_header(path)
                inspection.contents.append(Contents(name, tensors=tensors))
        except XittError as error:
            problems.append(str(error))
    if not is_ours and not any(name in CONFIGS for name in names):
        problems.append(
            f"{folder}: no module: neither {serialization.MANIFEST} (ours) nor {CONFIGS[0]}"
            " (adapters, peft)"
        )
    inspection.problems = problems
    inspection.files = [_file(folder / name) for name in names]


def _file(path: Path) -> tuple[str, int | None, bool]:
    size = None if path.is_symlink() or not path.is_file() else path.stat().st_size
    known = path.name in {serialization.MANIFEST, serialization.TENSORS, *CONFIGS}
    return path.name, size, known or path.name.endswith(".safetensors")


def _problems_below(folder: Path) -> list[str]:
    """What is wrong with the parts that a module came with, and with the data sets beside it."""
    problems: list[str] = []
    for name in (PARTS, DATA):
        try:
            below = safe_files.inside(folder, name)
            for entry in safe_files.entries(below) if below.is_dir() else ():
                path = safe_files.inside(below, entry)
                if name == PARTS:
                    problems += serialization.inspect_folder(path).problems
                else:
                    read_data_set(path)
        except XittError as error:
            problems.append(str(error))
    return problems


def library_of(name: str, config: Mapping[str, Any]) -> str:
    """Which library wrote a configuration, by what only it writes."""
    return "of peft" if name == CONFIGS[0] and "peft_type" in config else "of adapters (AdapterHub)"


def exposure_in_words(manifest: Manifest) -> str:
    """What a module and its parents have seen, role by role."""
    titles = {"trained": "trained on", "selected": "its step picked on", UNKNOWN: "may have seen"}
    roles: dict[str, dict[str, list[str]]] = {}
    for record in manifest.exposure:
        tasks = roles.setdefault(titles[record["role"]], {})
        languages = tasks.setdefault(record["task"] or "anything", [])
        if record["language"] not in ("", *languages):
            languages.append(record["language"])
    phrases = []
    for role, tasks in roles.items():
        each = [
            task + (f" in {', '.join(codes)}" if codes else "") for task, codes in tasks.items()
        ]
        phrases.append(f"{role} {', '.join(each)}")
    text = printable("; ".join(phrases) or "nothing: it was trained on no data")
    if any(not record["data"] for record in manifest.exposure):
        text += "; which items is not known, so that its cells carry a star"
    return text
