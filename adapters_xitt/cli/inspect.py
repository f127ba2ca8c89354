"""What the commands for single modules do: look at one, take one in, give one out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from adapters_xitt import safe_files
from adapters_xitt.data.exposure import UNKNOWN
from adapters_xitt.errors import XittError
from adapters_xitt.modules import serialization
from adapters_xitt.progress import console
from adapters_xitt.safe_files import TensorInfo
from adapters_xitt.sharing.bundle import DATA, PARTS
from adapters_xitt.study.store import Store, default_root
from adapters_xitt.study.store_files import read_data_set
from adapters_xitt.text import printable

CONFIGS = (
    "adapter_config.json",
    "head_config.json",
    "adapter_fusion_config.json",
    "adapter_setup.json",
)


def inspect(word: str, *, store: Path | None) -> int:
    """Prints what lies in a module's folder, or in a safetensors file, and everything wrong with
    it; builds no model. `word` is a path, or a module's name or key in the store. The exit status:
    1 where there are problems."""
    path, out = Path(word), console()
    if path.is_file():
        problems = _one_file(path, out)
    else:
        problems = _folder(path if path.is_dir() else _stored(word, store), out)
    for problem in problems:
        out.print(Text(f"problem: {printable(problem)}"))
    out.print(
        "No problem found."
        if not problems
        else f"{len(problems)} problem{'s' * (len(problems) > 1)}."
    )
    return int(bool(problems))


def _stored(word: str, store: Path | None) -> Path:
    where = Store(store or default_root())
    if "/" in word or word in (".", ".."):
        raise XittError(f"{word}: no such file or folder")
    return where.module_folder(where.resolve(word))


def _one_file(path: Path, out: Console) -> list[str]:
    try:
        if path.suffix == ".json":
            _print_values(safe_files.read_json(path), path.name, out)
        else:
            _print_tensors(safe_files.read_header(path), path.name, out)
    except XittError as error:
        return [str(error)]
    return []


def _folder(folder: Path, out: Console) -> list[str]:
    names = safe_files.entries(folder)
    own = serialization.MANIFEST in names or serialization.TENSORS in names
    found, problems = safe_files.scan_folder(
        folder, (serialization.MANIFEST, *CONFIGS, "*.safetensors")
    )
    forms = ["ours"] if own else []
    if own:
        seen = serialization.inspect_folder(folder)
        if seen.manifest:
            out.print(manifest_table(seen.manifest))
            out.print(Text(f"\nExposure: {exposure_in_words(seen.manifest)}"))
        _print_tensors(seen.tensors, serialization.TENSORS, out)
        problems = list(dict.fromkeys([*seen.problems, *problems, *_below(folder)]))
    for name, path in found.items():
        if name in (serialization.MANIFEST, serialization.TENSORS):
            continue
        try:
            if name in CONFIGS:
                values = safe_files.read_json(path)
                forms.append(form_of(name, values))
                _print_values(values, f"{name}, {forms[-1]}", out)
            elif path.suffix == ".safetensors":
                _print_tensors(safe_files.read_header(path), name, out)
        except XittError as error:
            problems.append(str(error))
    if not forms and not any(name in CONFIGS for name in names):
        problems.append(
            f"{folder}: no module: neither {serialization.MANIFEST} (ours) nor {CONFIGS[0]}"
            " (adapters, peft)"
        )
    _print_files(folder, names, out)
    return problems


def _below(folder: Path) -> list[str]:
    """What is wrong with the parts that a module came with, and with the data sets beside it."""
    told: list[str] = []
    for name in (PARTS, DATA):
        try:
            below = safe_files.inside(folder, name)
            for one in safe_files.entries(below) if below.is_dir() else ():
                path = safe_files.inside(below, one)
                if name == PARTS:
                    told += serialization.inspect_folder(path).problems
                else:
                    read_data_set(path)
        except XittError as error:
            told.append(str(error))
    return told


def form_of(name: str, config: Mapping[str, Any]) -> str:
    """Which library wrote a configuration, by what only it writes."""
    return "of peft" if name == CONFIGS[0] and "peft_type" in config else "of adapters (AdapterHub)"


def exposure_in_words(manifest: serialization.Manifest) -> str:
    """What a module and its parents have seen, role by role."""
    said = {"trained": "trained on", "selected": "its step picked on", UNKNOWN: "may have seen"}
    found: dict[str, dict[str, list[str]]] = {}
    for row in manifest.exposure:
        tasks = found.setdefault(said[row["role"]], {})
        languages = tasks.setdefault(row["task"] or "anything", [])
        languages += [row["language"]] if row["language"] not in ("", *languages) else []
    words = [
        f"{role} "
        + ", ".join(
            task + (f" in {', '.join(codes)}" if codes else "") for task, codes in tasks.items()
        )
        for role, tasks in found.items()
    ]
    unsure = any(not row["data"] for row in manifest.exposure)
    return printable("; ".join(words) or "nothing: it was trained on no data") + (
        "; which items is not known, so that its cells carry a star" if unsure else ""
    )


def manifest_table(manifest: serialization.Manifest, *, title: str = "") -> Table:
    """A manifest in lines; what is empty is left out, and the long lists: scores over the steps,
    weights that a search tried, errors and losses by layer."""
    table = _lines(title or manifest.role)
    for what, value in asdict(manifest).items():
        if isinstance(value, dict):
            value = {
                key: item
                for key, item in value.items()
                if key not in ("history", "tried", "errors")
                and not (key == "lost" and isinstance(item, dict))
            }
        if value not in (None, "", [], {}) and what != "exposure":
            _row(table, what, value)
    return table


def _lines(title: str) -> Table:
    return Table(show_header=False, title=Text(printable(title)), title_justify="left")


def _row(table: Table, what: str, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    table.add_row(
        Text(printable(what)), Text(printable(text[:2000]) + ("…" if len(text) > 2000 else ""))
    )


def _print_values(values: Mapping[str, Any], title: str, out: Console) -> None:
    table = _lines(title)
    for what, value in list(values.items())[:200]:
        _row(table, what, value)
    out.print(table)


def _print_tensors(tensors: Mapping[str, TensorInfo], name: str, out: Console) -> None:
    """A line for each part of a module: tensors, parameters, dtypes."""
    table = Table(title=Text(f"tensors of {printable(name)}"), title_justify="left")
    for column in ("part", "tensors", "parameters", "MiB", "dtypes"):
        table.add_column(column, justify="left" if column in ("part", "dtypes") else "right")
    parts: dict[str, list[TensorInfo]] = {}
    for full, info in tensors.items():
        words = full.split(".")
        parts.setdefault(".".join(words[:2]) if words[0] == "head" else words[0], []).append(info)
    rows = list(parts.items())[:20]
    for part, infos in [*rows, *([("all", list(tensors.values()))] if len(parts) != 1 else [])]:
        kinds = Counter(info.dtype for info in infos)
        table.add_row(
            Text(printable(part)),
            f"{len(infos):,}",
            f"{sum(info.count for info in infos):,}",
            f"{sum(info.size for info in infos) / safe_files.MIB:.2f}",
            ", ".join(kinds),
        )
    out.print(table)


def _print_files(folder: Path, names: list[str], out: Console) -> None:
    table = Table(title="files", title_justify="left")
    for column in ("file", "bytes", ""):
        table.add_column(column, justify="right" if column == "bytes" else "left")
    read = {serialization.MANIFEST, serialization.TENSORS, *CONFIGS}
    for name in names[:100]:
        path = folder / name
        size = "" if path.is_symlink() or not path.is_file() else f"{path.stat().st_size:,}"
        table.add_row(
            Text(printable(name)),
            size,
            "" if name in read or name.endswith(".safetensors") else "not read",
        )
    out.print(table)
