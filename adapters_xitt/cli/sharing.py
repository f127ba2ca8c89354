"""What the commands that share modules do: push one to a hub, pull one, search, verify what one
states."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from adapters_xitt import hub, safe_files, tasks
from adapters_xitt.cli import compositions
from adapters_xitt.cli.compositions import Options
from adapters_xitt.cli.render import print_manifest
from adapters_xitt.errors import XittError
from adapters_xitt.evaluation import predict
from adapters_xitt.model import pretrained
from adapters_xitt.modules import serialization
from adapters_xitt.progress import console, say
from adapters_xitt.sharing import bundle, card, exchange
from adapters_xitt.sharing.bundle import Writer
from adapters_xitt.study import runs
from adapters_xitt.study.results import DONE, Result
from adapters_xitt.study.store import Store, default_root
from adapters_xitt.text import printable

SAME = 1e-6  # percent points: the same number, written and read
MOST_SPREAD = 5.0  # percent points that a card may state as the spread of its seeds and be believed
# percent points, where no spread over seeds is stated: what other machines and versions may move
WITHIN = 0.5


def push(
    module: str,
    name: str,
    *,
    store: Path | None,
    base: str | None = None,
    run: str | None = None,
    revision: str | None = None,
    private: bool = False,
    create_pr: bool = False,
    licence: str | None = None,
    message: str | None = None,
    dry_run: bool = False,
    forms: Writer = exchange.forms,
) -> None:
    """Pushes a stored module with its context, its results and its card, and prints where it lies;
    with `dry_run` prints what would go, and asks nothing of the hub. `run` names the run whose
    other seeds, row `none` and controls the card shows beside it."""
    _quiet()
    where, wanted = Store(store or default_root()), hub.reference(name)
    if wanted.revision:
        raise XittError(f"{name}: the branch to push to is said by --revision")
    key = bundle.resolver(where, tell=say)(module)
    encoder = hub.reference(base) if base else None
    if encoder and not hub.is_commit(encoder.revision):
        raise XittError(
            f"--base {base}: name the encoder's commit too, owner/name@40 digits, because a branch"
            " moves"
        )
    own, beside = _results(where, key, run)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "parcel"
        folder.mkdir()
        notes = bundle.pack(
            where,
            key,
            folder,
            repo=wanted.repo,
            base=encoder,
            results=own,
            beside=beside,
            licence=licence,
            forms=forms,
        )
        for note in notes:
            say(note)
        if dry_run:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                print(f"{path.stat().st_size:>13,}  {path.relative_to(folder)}")
            print(printable(f"\n{(folder / 'README.md').read_text(encoding='utf-8')}"))
            return
        made = hub.push_folder(
            folder,
            wanted.repo,
            message=message or f"{serialization.read_manifest(folder).role}",
            revision=revision,
            private=private or None,
            create_pr=create_pr,
            owned=(*bundle.OURS, *bundle.FOREIGN),
            tell=say,
        )
    print(printable(made.request or made.url))
    print(f"xitt pull {hub.Reference(wanted.repo, made.commit)}")


def _results(
    store: Store, key: str, run: str | None
) -> tuple[list[Result], dict[str, list[Result]]]:
    """A module's results, with those of its row's other seeds, and of the rows that it is to be
    compared with."""
    composition = store.manifest(key).context
    own = [
        one for one in store.results() if one.cell.composition == composition and not one.cell.head
    ]
    if run is None:
        return own, {}
    entries = [one for one in runs.load_run(run, store.root)[0]["entries"] if one["status"] == DONE]
    keys = {one.cell.key for one in own}
    mine = {_row(one) for one in entries if one["key"] in keys}
    if not mine:
        raise XittError(f"run {run}: none of its rows is this module's")
    # other targets are other modules' of the row
    targets = {one["target"] for one in entries if one["key"] in keys}
    entries = [one for one in entries if one["target"] in targets]
    (method, intermediate, mode), *_ = mine
    compared = {"none": ("", "none")} | {
        f"{what} {mode}": (what, mode)
        for what in ("random", f"{intermediate}:permuted", f"{intermediate}:text")
    }
    beside: dict[str, list[Result]] = {}
    for label, place in compared.items():
        found = [one["key"] for one in entries if _row(one) == (method, *place)]
        if found and (method, *place) not in mine:
            beside[label] = [store.load_result(one) for one in dict.fromkeys(found)]
    several = dict.fromkeys(one["key"] for one in entries if _row(one) in mine)
    return [store.load_result(one) for one in several], beside


def _row(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return entry["method"], entry["intermediate"], entry["mode"]


def pull(text: str, *, store: Path | None) -> Path:
    """Brings a module from a hub below the store, checked, and prints what it is; its folder."""
    found = _pulled(text, Store(store or default_root()))
    print_manifest(
        serialization.read_manifest(found.folder), name=str(hub.Reference(found.repo, found.commit))
    )
    print(found.folder)
    return found.folder


def _pulled(text: str, store: Store) -> hub.Pulled:
    _quiet()
    return bundle.fetch(text, store, tell=say)


def search(
    words: Sequence[str], *, every: bool = False, tags: Sequence[str] = (), limit: int = 20
) -> None:
    """Prints the modules on the hub that match; with `every` other programs' too."""
    rows = hub.search(words, filters=[*([] if every else [card.TAG]), *tags], limit=limit)
    table = Table(title=f"{len(rows)} found", title_justify="left")
    for column in ("module", "changed", "downloads", "tags"):
        table.add_column(column, overflow="fold")
    for one in rows:
        table.add_row(
            f"{hub.PREFIX}{one.repo}",
            one.changed,
            str(one.downloads),
            ", ".join(tag for tag in one.tags if tag != card.TAG and ":" not in tag),
        )
    console().print(table)


# -- verify


def verify(
    text: str,
    *,
    encoder: str | None,
    data: str | None,
    store: Path | None,
    device: str = "auto",
    threads: int | None = None,
) -> int:
    """Pulls a module, scores the cells that it states again on the data at hand, and says of every
    number whether it holds; the exit status."""
    if not encoder:
        raise XittError(
            "verify: name the encoder with --encoder; a module pulled from a hub does not choose"
            " what is loaded"
        )
    found = _pulled(text, Store(store or default_root()))
    stated, manifest = bundle.stated(found.folder), serialization.read_manifest(found.folder)
    files = pretrained.inspect(encoder)
    if files.fingerprint != manifest.encoder:
        raise XittError(
            f"{text}: it belongs to another encoder than {encoder}: its manifest says fingerprint "
            f"{manifest.encoder[:12]} ({hub.plain(manifest.encoder_name, 80)}), this one has "
            f"{files.fingerprint[:12]}"
        )
    if not stated:
        print(printable(f"{text}: states no results"))
        return 0
    # of its own: a key is only what the manifest claims
    with tempfile.TemporaryDirectory() as scratch:
        place = Store(Path(scratch))
        key = bundle.unpack(found.folder, place)
        lines = [
            line
            for group in _groups(stated)
            for line in _again(
                group, key, place, files.folder, data, device, threads, _spreads(found.folder)
            )
        ]
    table = Table(title=str(hub.Reference(found.repo, found.commit)), title_justify="left")
    for column in ("task", "language", "stated", "here", "difference", "verdict"):
        table.add_column(column)
    for line in lines:
        table.add_row(*line)
    console().print(table)
    off = sum(line[-1].startswith("does not hold") for line in lines)
    held = sum(line[-1].startswith("holds") for line in lines)
    print(
        f"{held} of {len(lines)} stated numbers hold, {off} do not, {len(lines) - held - off} could"
        " not be checked"
    )
    return 1 if off or not held else 0


def _groups(stated: Sequence[Result]) -> list[list[Result]]:
    """The stated cells that one evaluation can score: of one task, read in one way."""
    found: dict[str, list[Result]] = {}
    for one in stated:
        found.setdefault(_reading(one), []).append(one)
    return list(found.values())


def _reading(one: Result) -> str:
    cell = one.cell
    return json.dumps(
        [cell.task, cell.split, cell.lengths, cell.precision, cell.convention], sort_keys=True
    )


def _again(
    group: Sequence[Result],
    key: str,
    store: Store,
    encoder: Path,
    data: str | None,
    device: str,
    threads: int | None,
    spreads: Mapping[tuple[str, str], float],
) -> list[tuple[str, ...]]:
    """The lines of one group of cells: what was stated, what comes out here."""
    cell = group[0].cell
    at = f"tasks.{cell.task}"
    said = [
        f"{at}.lengths={json.dumps(cell.lengths)}",
        f"{at}.test={json.dumps(cell.split)}",
        f"precision={json.dumps(cell.precision)}",
    ]
    row, layers = tasks.task(cell.task), pretrained.inspect(str(encoder)).layers
    said += [
        f"{at}.convention={one.name}"
        for one in row.readings[1:]
        if predict.convention(row, layers, name=one.name) == cell.convention
    ]
    reasons: dict[str, str] = {}
    try:
        grids = compositions.evaluate(
            key,
            [cell.task],
            store=store.root,
            options=Options(
                encoder=str(encoder),
                data=data,
                overrides=said,
                languages=[one.cell.language for one in group],
                machine={"device": device, "threads": threads},
            ),
        )
        reasons = {one["language"]: one["reason"] for grid in grids for one in grid["entries"]}
    # a table's majority row wants training data too; what was scored before is there
    except XittError as error:
        reasons = dict.fromkeys(
            (one.cell.language for one in group), str(error).splitlines()[0][:160]
        )
    scored = {
        one.cell.language: one for one in store.results() if _reading(one) == _reading(group[0])
    }
    lines = []
    for one in group:
        here = scored.get(one.cell.language)
        if here is None:
            lines.append(
                _line(one, None, f"not checked: {reasons.get(one.cell.language) or 'not there'}")
            )
            continue
        if here.cell.data != one.cell.data:
            lines.append(_line(one, None, "not checked: other rows here"))
            continue
        value = here.scores.get(one.headline, float("nan"))
        difference = abs(value - one.scores[one.headline])
        spread = spreads.get((one.cell.task, one.cell.language), WITHIN)
        verdict = (
            "holds: the same"
            if difference <= SAME
            else (
                f"holds: within {spread:.2f}"
                if difference <= spread
                else f"does not hold: more than {spread:.2f} apart"
            )
        )
        lines.append(_line(one, value, verdict))
    return lines


def _line(one: Result, value: float | None, verdict: str) -> tuple[str, ...]:
    stated = one.scores[one.headline]
    return (
        one.cell.task,
        one.cell.language,
        f"{stated:.2f}",
        "–" if value is None else f"{value:.2f}",
        "–" if value is None else f"{value - stated:+.2f}",
        verdict,
    )


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
    found = {}
    for one in stated.eval_results or ():
        metric, place = one.metric_args, one.dataset_args
        if not isinstance(metric, dict) or not isinstance(place, dict):
            continue
        spread, seeds = metric.get("spread"), metric.get("seeds")
        # Whoever wrote the card chose the spread: a wide one, or one of two seeds, excuses nothing.
        if (
            isinstance(spread, float)
            and 0 < spread <= MOST_SPREAD
            and isinstance(seeds, int)
            and seeds > 2
        ):
            found[str(one.dataset_name), str(place.get("language"))] = max(spread, WITHIN)
    return found


def _quiet() -> None:
    """No bars where nobody watches."""
    from huggingface_hub.utils import disable_progress_bars

    if not sys.stderr.isatty():
        disable_progress_bars()
