"""Modules on a hub: push one, pull one, search, verify what one states."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from adapters_xitt import hub
from adapters_xitt.api.modules import Module
from adapters_xitt.api.options import store_root
from adapters_xitt.errors import XittError
from adapters_xitt.hub import Pulled
from adapters_xitt.model.seen import read_seen
from adapters_xitt.modules import serialization
from adapters_xitt.progress import notify
from adapters_xitt.sharing import bundle, card, exporting
from adapters_xitt.sharing.bundle import Writer
from adapters_xitt.study import runs
from adapters_xitt.study.results import DONE, Result
from adapters_xitt.study.store import Store


@dataclass(frozen=True)
class Push:
    """What was pushed, or would be."""

    files: dict[str, int]  # path in the repository → bytes
    card: str  # README.md, as Markdown
    reference: str = ""  # what `pull` takes: the commit that was made; empty after a dry run
    url: str = ""  # of the pull request where one was made, else of the commit


class PushOptions(TypedDict, total=False):
    """What a push is told beside the module and the repository."""

    store: str | Path | None
    base: str | None  # owner/name@commit: where the encoder lies on the hub
    run: str | None  # whose other seeds, row `none` and controls the card shows
    revision: str | None  # the branch to push to; default: main
    private: bool  # make the repository private; refused where it is there and public
    create_pr: bool  # make a pull request, which needs no right to write
    licence: str | None  # as the hub names them: mit, apache-2.0
    message: str | None  # of the commit


def push(
    module: str | Module,
    repository: str,
    *,
    dry_run: bool = False,
    forms: Writer = exporting.forms,
    **options: Unpack[PushOptions],
) -> Push:
    """Pushes a module of the store, with the parts of its context, its results and its card, to a
    repository (`owner/name`) on a model hub, in one commit; with `dry_run` it says what would go,
    and asks nothing of the hub. The token is the one that `hf auth login` or HF_TOKEN gives;
    HF_ENDPOINT is another hub. A `XittError` says what the hub refuses, or what is missing.

    >>> sorted(push("a", "ana/a", dry_run=True, store="docs").files)[:2]
    ['README.md', 'adapter_config.json']
    """
    _disable_bars()
    stored, target = Store(store_root(options.get("store"))), hub.reference(repository)
    if target.revision:
        raise XittError(f"{repository}: the branch to push to is said by --revision")
    key = bundle.resolver(stored, tell=notify)(str(module))
    base, message = options.get("base"), options.get("message")
    encoder = hub.reference(base) if base else None
    if encoder and not hub.is_commit(encoder.revision):
        raise XittError(
            f"--base {base}: name the encoder's commit too, owner/name@40 digits, because a"
            " branch moves"
        )
    results, beside = _results(stored, key, options.get("run"))
    publication = bundle.Publication(
        base=encoder,
        results=results,
        beside=beside,
        licence=options.get("licence"),
        seen=_encoder_seen(stored, key, options.get("run")),
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        notes = bundle.pack(
            stored, key, folder, repo=target.repo, publication=publication, forms=forms
        )
        for note in notes:
            notify(note)
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        files = {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}
        text = (folder / "README.md").read_text(encoding="utf-8")
        if dry_run:
            return Push(files, text)
        pushed = hub.push_folder(
            folder,
            hub.Reference(target.repo, options.get("revision")),
            message=message or f"{serialization.read_manifest(folder).role}",
            private=options.get("private") or None,
            create_pr=options.get("create_pr", False),
            owned=(*bundle.OURS, *bundle.FOREIGN),
            tell=notify,
        )
    reference = str(hub.Reference(target.repo, pushed.commit))
    return Push(files, text, reference, pushed.request or pushed.url)


def _results(
    store: Store, key: str, run: str | None
) -> tuple[list[Result], dict[str, list[Result]]]:
    """A module's results, with those of its row's other seeds, and of the rows that it is to be
    compared with."""
    composition = store.manifest(key).context
    results = [
        result
        for result in store.results()
        if result.cell.composition == composition and not result.cell.head
    ]
    if run is None:
        return results, {}
    grid, _ = runs.load_run(run, store.root)
    entries = [entry for entry in grid["entries"] if entry["status"] == DONE]
    keys = {result.cell.key for result in results}
    rows = {_grid_row(entry) for entry in entries if entry["key"] in keys}
    if not rows:
        raise XittError(f"run {run}: none of its rows is this module's")
    # other targets are other modules' of the row
    targets = {entry["target"] for entry in entries if entry["key"] in keys}
    entries = [entry for entry in entries if entry["target"] in targets]
    (method, intermediate, mode), *_ = rows
    compared = {"none": ("", "none")} | {
        f"{what} {mode}": (what, mode)
        for what in ("random", f"{intermediate}:permuted", f"{intermediate}:text")
    }
    beside: dict[str, list[Result]] = {}
    for label, place in compared.items():
        grid_row = (method, *place)
        cells = [entry["key"] for entry in entries if _grid_row(entry) == grid_row]
        if cells and grid_row not in rows:
            beside[label] = [store.load_result(cell) for cell in dict.fromkeys(cells)]
    cells = list(dict.fromkeys(entry["key"] for entry in entries if _grid_row(entry) in rows))
    return [store.load_result(cell) for cell in cells], beside


def _encoder_seen(store: Store, key: str, run: str | None) -> Sequence[str]:
    """What the own training of a module's encoder had, as its run says, or a file beside the
    encoder where that lies here."""
    if run is not None:
        grid, _ = runs.load_run(run, store.root)
        if (stated := grid["encoder"].get("seen")) is not None:
            return stated
    from adapters_xitt.model.pretrained import local_folder  # needs torch

    manifest = store.manifest(key)
    folder = local_folder(manifest.encoder_name) if manifest.encoder_is_ours else None
    seen = read_seen(folder) if folder else None
    return seen.groups if seen else ()


def _grid_row(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["method"], entry["intermediate"], entry["mode"]


def pull(reference: str, *, store: str | Path | None = None) -> Pulled:
    """Brings a module, `hub:owner/name` or `hub:owner/name@revision`, from a model hub into a
    folder of its own below the store: checked, at a pinned commit, nothing that runs. It gives the
    `folder`, the `repo` and the `commit`; `load` takes the same reference into the store. A
    `XittError` says what is missing or was refused.

    >>> pull("hub:ana", store="docs")
    Traceback (most recent call last):
    ...
    adapters_xitt.errors.XittError: 'hub:ana': not a repository of a hub; write hub:owner/name or \
hub:owner/name@revision, names of letters, digits, '.', '_' and '-'
    """
    return pull_into(Store(store_root(store)), reference)


def pull_into(store: Store, reference: str) -> Pulled:
    """Brings a module below a store."""
    _disable_bars()
    return bundle.fetch(reference, store, tell=notify)


def search(
    words: str | Sequence[str] = (),
    *,
    tags: Sequence[str] = (),
    every: bool = False,
    limit: int = 20,
) -> list[hub.Repository]:
    """The modules on the hub that match `words` and have all `tags` (a language, a method), each
    with `repo`, `commit`, `tags`, `downloads`, `changed`; with `every` other programs' too.

    >>> [repository.repo for repository in search("xnli", tags=["sw"])]
    ['ana/xnli-sw']
    """
    asked = [words] if isinstance(words, str) else words
    return hub.search(asked, filters=[*([] if every else [card.TAG]), *tags], limit=limit)


def _disable_bars() -> None:
    """No bars where nobody watches."""
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
