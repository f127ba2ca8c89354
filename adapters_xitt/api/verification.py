"""What a module on a hub states of itself, scored again."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters_xitt import hub, safe_files, tasks
from adapters_xitt.api import compositions
from adapters_xitt.api.hub import pull_into
from adapters_xitt.api.options import ExpressionOptions, store_root
from adapters_xitt.errors import XittError
from adapters_xitt.evaluation import conventions
from adapters_xitt.model import pretrained
from adapters_xitt.modules import serialization
from adapters_xitt.sharing import bundle
from adapters_xitt.study.results import Result
from adapters_xitt.study.store import Store
from adapters_xitt.text import printable

SAME = 1e-6  # percent points: the same number, written and read
MOST_SPREAD = 5.0  # percent points that a card may state as the spread of its seeds and be believed
# percent points, where no spread over seeds is stated: what other machines and versions may move
WITHIN = 0.5


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
    pulled = pull_into(Store(store_root(store)), reference)
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
