"""Manifests and stores as tables. Nothing here needs torch."""

from __future__ import annotations

import re

from rich.table import Table
from rich.text import Text

from adapters_xitt.api.inspection import exposure_in_words
from adapters_xitt.cli.inspect import manifest_table
from adapters_xitt.modules import serialization
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.progress import console
from adapters_xitt.study.store import Store


def print_manifest(manifest: Manifest, *, name: str | None = None) -> None:
    """A manifest in lines, and in words what the module has seen."""
    out = console()
    out.print(manifest_table(manifest, title=name or manifest.role))
    out.print(Text(f"Exposure: {exposure_in_words(manifest)}"))


def print_results(store: Store) -> None:
    """The results of a store, a line each."""
    table = Table(title=f"results in {store.root}", title_justify="left")
    for column in ("key", "task", "language", "composition", "seed", "score", "tag"):
        table.add_column(column)
    key = re.compile(r"[0-9a-f]{64}")
    for result in store.results():
        cell = result.cell
        table.add_row(
            cell.key[:12],
            cell.task,
            cell.language,
            key.sub(lambda match: match[0][:12], cell.composition),
            str(cell.seed or ""),
            f"{result.scores[result.headline]:.2f} {result.headline}",
            result.tag,
        )
    console().print(table)


def print_modules(store: Store) -> None:
    """The modules of a store, a line each."""
    names = {key: name for name, key in store.names().items()}
    table = Table(title=f"modules in {store.root}", title_justify="left")
    for column in ("key", "name", "module", "encoder", "selection score", "chance", "MiB"):
        table.add_column(column, justify="right" if column in ("chance", "MiB") else "left")
    for manifest in store.manifests():
        size = (store.module_folder(manifest.key) / serialization.TENSORS).stat().st_size / 2**20
        table.add_row(
            manifest.key[:12],
            names.get(manifest.key, ""),
            manifest.role,
            manifest.encoder_name,
            _selection_score(manifest),
            "" if manifest.chance is None else f"{manifest.chance:.2f}",
            f"{size:.2f}",
        )
    console().print(table)


def _selection_score(manifest: Manifest) -> str:
    """The score by which a module's step was picked; where it has none, why."""
    if manifest.metrics["score"] is not None:
        return f"{manifest.metrics['score']:.2f} {manifest.metrics['headline']}"
    if manifest.source:
        return "not known"
    return "merged" if manifest.merge else "random"
