"""What `xitt inspect` does: prints what lies in a module's folder, or in a file of one, and
everything wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from adapters_xitt import safe_files
from adapters_xitt.api import inspection
from adapters_xitt.api.inspection import Contents, Inspection, exposure_in_words
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.progress import console
from adapters_xitt.safe_files import TensorInfo
from adapters_xitt.text import printable


def inspect(word: str, *, store: Path | None) -> int:
    """Prints what is in the module at `word`, a path or a name in the store; the exit status: 1
    where there are problems."""
    inspected = inspection.inspect(word, store=store)
    print_inspection(inspected)
    return int(not inspected.ok)


def print_inspection(inspected: Inspection) -> None:
    """What was found, table by table, then everything wrong."""
    out = console()
    if inspected.manifest:
        out.print(manifest_table(inspected.manifest))
        out.print(Text(f"\nExposure: {exposure_in_words(inspected.manifest)}"))
    for contents in inspected.contents:
        out.print(_contents_table(contents))
    if inspected.files:
        out.print(_files_table(inspected.files))
    for problem in inspected.problems:
        out.print(Text(f"problem: {printable(problem)}"))
    count = len(inspected.problems)
    out.print(f"{count} problem{'s' * (count > 1)}." if count else "No problem found.")


def manifest_table(manifest: Manifest, *, title: str = "") -> Table:
    """A manifest in lines; what is empty is left out, and the long lists: scores over the steps,
    weights that a search tried, errors and losses by layer."""
    table = _lines(title or manifest.role)
    for name, value in asdict(manifest).items():
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if _is_short(key, item)}
        if value not in (None, "", [], {}) and name != "exposure":
            _add_row(table, name, value)
    return table


def _is_short(key: str, value: Any) -> bool:
    return key not in ("history", "tried", "errors") and not (
        key == "lost" and isinstance(value, dict)
    )


def _lines(title: str) -> Table:
    return Table(show_header=False, title=Text(printable(title)), title_justify="left")


def _add_row(table: Table, name: str, value: Any) -> None:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    shown = printable(text[:2000]) + ("…" if len(text) > 2000 else "")
    table.add_row(Text(printable(name)), Text(shown))


def _contents_table(contents: Contents) -> Table:
    if contents.tensors is not None:
        return _tensors_table(contents.tensors, contents.title)
    table = _lines(contents.title)
    for name, value in list((contents.values or {}).items())[:200]:
        _add_row(table, name, value)
    return table


def _tensors_table(tensors: Mapping[str, TensorInfo], name: str) -> Table:
    """A line for each part of a module: tensors, parameters, dtypes."""
    table = Table(title=Text(f"tensors of {printable(name)}"), title_justify="left")
    for column in ("part", "tensors", "parameters", "MiB", "dtypes"):
        table.add_column(column, justify="left" if column in ("part", "dtypes") else "right")
    parts: dict[str, list[TensorInfo]] = {}
    for full, info in tensors.items():
        words = full.split(".")
        part = ".".join(words[:2]) if words[0] == "head" else words[0]
        parts.setdefault(part, []).append(info)
    groups = list(parts.items())[:20]
    if len(parts) != 1:
        groups.append(("all", list(tensors.values())))
    for part, infos in groups:
        dtypes = Counter(info.dtype for info in infos)
        table.add_row(
            Text(printable(part)),
            f"{len(infos):,}",
            f"{sum(info.count for info in infos):,}",
            f"{sum(info.size for info in infos) / safe_files.MIB:.2f}",
            ", ".join(dtypes),
        )
    return table


def _files_table(files: Sequence[tuple[str, int | None, bool]]) -> Table:
    table = Table(title="files", title_justify="left")
    for column in ("file", "bytes", ""):
        table.add_column(column, justify="right" if column == "bytes" else "left")
    for name, size, is_read in files[:100]:
        shown = "" if size is None else f"{size:,}"
        table.add_row(Text(printable(name)), shown, "" if is_read else "not read")
    return table
