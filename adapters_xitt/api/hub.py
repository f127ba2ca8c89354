"""Modules on a hub: push one, pull one, search, verify what one states."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from adapters_xitt import hub, safe_files, tasks
from adapters_xitt.api import compositions
from adapters_xitt.api.modules import Module
from adapters_xitt.api.options import ExpressionOptions, store_root
from adapters_xitt.errors import XittError
from adapters_xitt.evaluation import conventions
from adapters_xitt.hub import Pulled
from adapters_xitt.model import pretrained
from adapters_xitt.modules import serialization
from adapters_xitt.progress import say
from adapters_xitt.sharing import bundle, card, exporting
from adapters_xitt.sharing.bundle import Writer
from adapters_xitt.study import runs
from adapters_xitt.study.results import DONE, Result
from adapters_xitt.study.store import Store
from adapters_xitt.text import printable

SAME = 1e-6  # percent points: the same number, written and read
MOST_SPREAD = 5.0  # percent points that a card may state as the spread of its seeds and be believed
# percent points, where no spread over seeds is stated: what other machines and versions may move
WITHIN = 0.5


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
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "bundle"
        folder.mkdir()
        notes = bundle.pack(
            stored,
            key,
            folder,
            repo=target.repo,
            base=encoder,
            results=results,
            beside=beside,
            licence=options.get("licence"),
            forms=forms,
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
    return _pulled(reference, Store(store_root(store)))


def _pulled(text: str, store: Store) -> Pulled:
    _disable_bars()
    return bundle.fetch(text, store, tell=notify)


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


# -- verify


@dataclass(frozen=True)
class Check:
    """One number that a module states, and what comes out here."""

    task: str
    language: str
    stated: float  # percent
    here: float | None  # percent; None where it could not be checked
    verdict: str

    @property
    def holds(self) -> bool | None:
        """Whether the number holds; None where it could not be checked."""
        return None if self.here is None else self.verdict.startswith("holds")


@dataclass(frozen=True)
class Verification:
    """Every number that a pulled module states, checked."""

    reference: str  # the module, at its commit
    checks: list[Check]

    @property
    def ok(self) -> bool:
        """Whether some number was checked and all that were hold, or none is stated."""
        verdicts = [check.holds for check in self.checks]
        return not verdicts or (False not in verdicts and True in verdicts)


def verify(
    reference: str,
    *,
    encoder: str | None,
    data: str | None = None,
    store: str | Path | None = None,
    device: str = "auto",
    threads: int | None = None,
) -> Verification:
    """Pulls a module, scores the cells that it states again on the data at hand, and says of every
    number whether it holds: stated and here, both percent, and a verdict. `encoder` must be named,
    because a module from elsewhere chooses nothing that is loaded. A `XittError` where it is of
    another encoder.

    >>> verify("hub:ana/a", encoder=None)
    Traceback (most recent call last):
    ...
    adapters_xitt.errors.XittError: verify: name the encoder with --encoder; a module pulled from \
a hub does not choose what is loaded
    """
    if not encoder:
        raise XittError(
            "verify: name the encoder with --encoder; a module pulled from a hub does not choose"
            " what is loaded"
        )
    pulled = _pulled(reference, Store(store_root(store)))
    stated, manifest = bundle.stated(pulled.folder), serialization.read_manifest(pulled.folder)
    files = pretrained.inspect(encoder)
    if files.fingerprint != manifest.encoder:
        raise XittError(
            f"{reference}: it belongs to another encoder than {encoder}: its manifest says"
            f" fingerprint {manifest.encoder[:12]} ({printable(manifest.encoder_name, most=80)}),"
            f" this one has {files.fingerprint[:12]}"
        )
    title = str(hub.Reference(pulled.repo, pulled.commit))
    if not stated:
        return Verification(title, [])
    spreads, checks = _spreads(pulled.folder), []
    # of its own: a key is only what the manifest claims
    with tempfile.TemporaryDirectory() as scratch:
        own_store = Store(Path(scratch))
        key = bundle.unpack(pulled.folder, own_store)
        options: ExpressionOptions = {
            "encoder": str(files.folder),
            "data": data,
            "store": own_store.root,
            "device": device,
            "threads": threads,
            "log": "none",
        }
        for group in _groups(stated):
            checks += _checked(group, key, own_store, options, spreads)
    return Verification(title, checks)


def _groups(stated: Sequence[Result]) -> list[list[Result]]:
    """The stated cells that one evaluation can score: of one task, read in one way."""
    groups: dict[str, list[Result]] = {}
    for result in stated:
        groups.setdefault(_reading(result), []).append(result)
    return list(groups.values())


def _reading(result: Result) -> str:
    cell = result.cell
    return json.dumps(
        [cell.task, cell.split, cell.lengths, cell.precision, cell.convention], sort_keys=True
    )


def _checked(
    group: Sequence[Result],
    key: str,
    store: Store,
    options: ExpressionOptions,
    spreads: Mapping[tuple[str, str], float],
) -> list[Check]:
    """One group of cells: what was stated, what comes out here."""
    languages = [result.cell.language for result in group]
    overrides = _overrides(group[0], str(options["encoder"]))
    again: ExpressionOptions = {**options, "languages": languages, "overrides": overrides}
    reasons: dict[str, str] = {}
    try:
        entries = compositions.evaluate(key, [group[0].cell.task], **again).entries
        reasons = {entry["language"]: entry["reason"] for entry in entries}
    # a table's majority row wants training data too; what was scored before is there
    except XittError as error:
        reason = str(error).splitlines()[0][:160]
        reasons = dict.fromkeys(languages, reason)
    reading = _reading(group[0])
    scored = {
        result.cell.language: result for result in store.results() if _reading(result) == reading
    }
    checks = []
    for result in group:
        language = result.cell.language
        here = scored.get(language)
        if here is None:
            reason = reasons.get(language) or "not there"
            checks.append(_check(result, None, f"not checked: {reason}"))
        elif here.cell.data != result.cell.data:
            checks.append(_check(result, None, "not checked: other rows here"))
        else:
            value = here.scores.get(result.headline, float("nan"))
            spread = spreads.get((result.cell.task, language), WITHIN)
            checks.append(_check(result, value, _verdict(result, value, spread)))
    return checks


def _overrides(result: Result, encoder: str) -> list[str]:
    """The keys of a recipe that read a cell's task as the cell was read."""
    cell = result.cell
    task, layers = tasks.task(cell.task), pretrained.inspect(encoder).layers
    prefix = f"tasks.{cell.task}"
    others = [
        reading.name
        for reading in task.readings[1:]
        if conventions.convention(task, layers, name=reading.name) == cell.convention
    ]
    return [
        f"{prefix}.lengths={json.dumps(cell.lengths)}",
        f"{prefix}.test={json.dumps(cell.split)}",
        f"precision={json.dumps(cell.precision)}",
        *(f"{prefix}.convention={name}" for name in others),
    ]


def _verdict(result: Result, value: float, spread: float) -> str:
    difference = abs(value - result.scores[result.headline])
    if difference <= SAME:
        return "holds: the same"
    if difference <= spread:
        return f"holds: within {spread:.2f}"
    return f"does not hold: more than {spread:.2f} apart"


def _check(result: Result, value: float | None, verdict: str) -> Check:
    cell = result.cell
    return Check(cell.task, cell.language, result.scores[result.headline], value, verdict)


def _spreads(folder: Path) -> dict[tuple[str, str], float]:
    """(task, language) → the standard deviation over seeds that the card's header states."""
    import yaml
    from huggingface_hub import ModelCard

    path = folder / "README.md"
    try:
        safe_files.checked_size(path)
        stated = ModelCard(path.read_text(encoding="utf-8"), ignore_metadata_errors=True).data
    except (
        XittError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        RecursionError,
        yaml.YAMLError,
    ):
        return {}  # no card, or none that states a spread
    spreads = {}
    for result in getattr(stated, "eval_results", None) or ():
        metric, dataset = result.metric_args, result.dataset_args
        if not isinstance(metric, dict) or not isinstance(dataset, dict):
            continue
        spread, seeds = metric.get("spread"), metric.get("seeds")
        # Whoever wrote the card chose the spread: a wide one, or one of two seeds, excuses nothing.
        if (
            isinstance(spread, float)
            and 0 < spread <= MOST_SPREAD
            and isinstance(seeds, int)
            and seeds > 2
        ):
            place = str(result.dataset_name), str(dataset.get("language"))
            spreads[place] = max(spread, WITHIN)
    return spreads


def _disable_bars() -> None:
    """No bars where nobody watches."""
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
