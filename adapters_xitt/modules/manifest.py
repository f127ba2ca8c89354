"""What a module says of itself, and the checks of what a file says of one."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from adapters_xitt.data import mixture
from adapters_xitt.data.exposure import UNKNOWN
from adapters_xitt.errors import XittError, unknown
from adapters_xitt.modules import composition, methods
from adapters_xitt.tasks import KINDS

FORMAT = 2
KEY = re.compile(r"[0-9a-f]{64}")  # of a job, and what a digest looks like
SOURCES = ("", "adapters", "peft", "xitt")
ROLES = ("trained", "selected", UNKNOWN)
LONG = 10_000  # characters of one word or sentence, and keys or values of one collection
DEEP = 8  # collections within each other


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a module says of itself."""

    key: str  # the job that made it
    digest: str  # of its tensors
    encoder: str  # fingerprint of the encoder it belongs to
    encoder_name: str
    method: dict[str, Any]
    trained_on: str  # people's word for the mixture: "squad@es", or the name that a recipe gave it
    mixture: dict[str, Any]
    heads: dict[str, dict[str, Any]]  # label space → kind, labels
    languages: list[str]  # trained in
    seed: int
    context: str  # the composition it was trained in, its own key being one of the parts
    role: str  # people's word for the row: "xnli above mnli"
    # task, language, role, data: the data set's digest; its parents' included
    exposure: list[dict[str, str]]
    metrics: dict[str, Any]
    training: dict[str, Any]
    versions: dict[str, str]
    chance: float | None = None  # the selection score of the majority class, where the kind has one
    # of a merged module: how, options, parts, and the error in every layer
    merge: dict[str, Any] | None = None
    # the form of the folder that it was taken in from: adapters, peft, xitt; empty: made here
    source: str = ""
    format: int = FORMAT

    @property
    def encoder_is_ours(self) -> bool:
        """Whether the name of its encoder is a word of this store's user, who trained it here or
        named it when another library's module was taken in. What one of our folders from elsewhere
        says chooses nothing to be loaded."""
        return self.source != "xitt"


@dataclass(frozen=True)
class Module:
    """A trained value: the tensors of the module and of its head, and the manifest."""

    manifest: Manifest
    tensors: dict[str, Any] = field(repr=False)  # "encoder." names and "head.SPACE." names

    def part(self, prefix: str) -> dict[str, Any]:
        """The tensors under `prefix` ("encoder" or "head.SPACE"), without it."""
        dotted = prefix + "."
        return {
            name.removeprefix(dotted): value
            for name, value in self.tensors.items()
            if name.startswith(dotted)
        }


def problems(values: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with the values of a manifest; empty where they are one."""
    if values.get("format") != FORMAT or type(values["format"]) is not int:
        return [f"format {str(values.get('format'))[:40]}; this version reads format {FORMAT}"]
    known = {entry.name: entry.default is MISSING for entry in fields(Manifest)}
    if len(values) > 100:
        return [f"{len(values):,} keys; a manifest has {len(known)}"]
    wrong = [f"key {name!r} is missing" for name in known if known[name] and name not in values]
    wrong += [unknown("key", name[:80], known) for name in values if name not in known]
    for name, check in _CHECKS.items():
        if name in values and (problem := check(values[name])):
            wrong.append(f"{name}: {problem}")
    return wrong or _check_together(values)


def _check_together(values: Mapping[str, Any]) -> list[str]:
    """What no field shows alone."""
    wrong = []
    try:
        parts = composition.names(composition.parse(values["context"]))
    except XittError as error:
        wrong.append(f"context: {str(error).splitlines()[0]}")
    else:
        if values["key"] not in parts or not all(map(KEY.fullmatch, parts)):
            wrong.append(
                "context: a composition of keys, 64 hex digits each, with the module's own among"
                f" them, is needed, not {_short(values['context'])}"
            )
    if values.get("chance") is not None and values["metrics"]["score"] is None:
        wrong.append("metrics: chance has a value, so score must have one")
    return wrong


def tensor_problems(
    manifest: Manifest, shapes: Mapping[str, tuple[str, tuple[int, ...]]]
) -> list[str]:
    """What is wrong with a module's tensors, given each one's dtype, as safetensors names it, and
    shape."""
    prefixes = ("encoder.", *(f"head.{space}." for space in manifest.heads))
    others = [name for name in shapes if not name.startswith(prefixes)]
    whole = [
        name for name, (dtype, _) in shapes.items() if dtype not in ("F64", "F32", "F16", "BF16")
    ]
    wrong = [
        f"{len(names)} tensors {what}: {', '.join(names)[:300]}"
        for names, what in (
            (
                others,
                (
                    "too many, being neither encoder.* nor of a head that the manifest has "
                    f"({', '.join(manifest.heads) or 'it has none'})"
                ),
            ),
            (whole, "that are no floating-point numbers"),
        )
        if names
    ]
    for space, head in manifest.heads.items():
        if not any(name.startswith(f"head.{space}.") for name in shapes):
            wrong.append(f"head {space}: the manifest has it, no tensor does")
        outputs = KINDS[head["kind"]].outputs or len(head["labels"])
        bias = shapes.get(f"head.{space}.out.bias", ("", (outputs,)))[1]
        if outputs and bias != (outputs,):
            wrong.append(
                f"head {space}: out.bias has shape {bias}, {len(head['labels'])} labels of a "
                f"{head['kind']} need ({outputs},)"
            )
    return wrong


# -- fields: what a value must be, where it isn't --------------------------------------------------


def _hex(value: Any) -> str:
    return (
        ""
        if isinstance(value, str) and KEY.fullmatch(value)
        else f"must be 64 hex digits, not {_short(value)}"
    )


def _text(value: Any) -> str:
    good = (
        isinstance(value, str)
        and len(value) <= LONG
        and all(sign.isprintable() or sign == "\xa0" for sign in value)
    )
    return (
        ""
        if good
        else f"must be a text of at most {LONG:,} printable characters, not {_short(value)}"
    )


def _short(value: Any) -> str:
    """A value as a message may show it: cut, control characters escaped."""
    return ascii(
        value[:60]
        if isinstance(value, str)
        else value
        if isinstance(value, (int, float))
        else type(value).__name__
    )[:80]


def _number(value: Any) -> str:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e30
    return "" if good else f"must be a number, not {_short(value)}"


def _method(value: Any) -> str:
    if not isinstance(value, dict) or len(value) > 100:
        return f"must be an object of a method's name and options, not {_short(value)}"
    try:
        whole = methods.from_record(value).record()
    except XittError as error:
        return " ".join(str(error).split())[:400]
    missing = [option for option in whole if option not in value]
    return f"options missing: {', '.join(missing)}" if missing else ""


def _mixture(value: Any) -> str:
    try:
        mixture.from_record("", value)
    except XittError as error:
        return str(error).removeprefix("mixture: ")
    return ""


def _heads(value: Any) -> str:
    if not isinstance(value, dict) or len(value) > 100:
        return f"must be an object of at most 100 label spaces, not {_short(value)}"
    for space, head in value.items():
        if not isinstance(head, dict) or set(head) != {"kind", "labels"}:
            return f"{_short(space)} must have kind and labels, and nothing else"
        kind, labels = head["kind"], head["labels"]
        if not isinstance(kind, str) or kind not in KINDS:
            return f"{_short(space)}: {unknown('kind', _short(kind), KINDS)}"
        if _texts(labels) or len(set(labels)) < len(labels):
            return f"{_short(space)}: labels must be a list of different texts"
        if space != mixture.space_of(kind, labels):
            return (
                f"{_short(space)} is not the label space of a {kind} with labels"
                f" {' '.join(labels)[:300] or '(none)'}, which is {mixture.space_of(kind, labels)}:"
                " the labels or their order were changed"
            )
    return ""


def _texts(value: Any) -> str:
    good = isinstance(value, list) and len(value) <= LONG and not any(map(_text, value))
    return "" if good else f"must be a list of texts, not {_short(value)}"


def _exposure(value: Any) -> str:
    if not isinstance(value, list) or len(value) > LONG:
        return f"must be a list, not {_short(value)}"
    for entry in value:
        if not isinstance(entry, dict) or set(entry) != {"task", "language", "role", "data"}:
            return "each entry must have task, language, role and data, and nothing else"
        if _text(entry["task"]) or _text(entry["language"]) or entry["role"] not in ROLES:
            return f"task and language must be texts, the role one of {', '.join(ROLES)}"
        if entry["data"] != "" and _hex(entry["data"]):
            return f"data {_hex(entry['data'])}"
    return ""


def _plain(value: Any) -> str:
    """Of figures and settings that people read: an object of bounded size, whatever its keys."""
    return (
        f"must be an object, not {_short(value)}"
        if not isinstance(value, dict)
        else (
            ""
            if _bounded(value, DEEP)
            else f"nested deeper than {DEEP}, longer than {LONG:,}, or no plain text"
        )
    )


def _bounded(value: Any, deep: int) -> bool:
    if isinstance(value, (dict, list)):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return deep > 0 and len(parts) <= LONG and all(_bounded(part, deep - 1) for part in parts)
    return (
        value is None
        or isinstance(value, bool)
        or not (_text(value) if isinstance(value, str) else _number(value))
    )


def _metrics(value: Any) -> str:
    return _plain(value) or _needed(value, {"score": _optional(_number), "headline": _text})


def _training(value: Any) -> str:
    return _plain(value) or _needed(
        value,
        {
            "learning_rate": _number,
            "start": _optional(_text),
            "below": _texts,
            "carry_pooler": _boolean,
        },
    )


def _boolean(value: Any) -> str:
    return "" if isinstance(value, bool) else f"must be true or false, not {_short(value)}"


def _needed(value: Mapping[str, Any], checks: Mapping[str, Check]) -> str:
    for name, check in checks.items():
        if name not in value:
            return f"{name} is missing"
        if problem := check(value[name]):
            return f"{name} {problem}"
    return ""


def _optional(check: Check) -> Check:
    return lambda value: "" if value is None else check(value)


def _versions(value: Any) -> str:
    good = (
        isinstance(value, dict)
        and len(value) <= 100
        and not any(map(_text, [*value, *value.values()]))
    )
    return "" if good else f"must be an object of texts, not {_short(value)}"


Check = Callable[[Any], str]
_CHECKS: dict[str, Check] = {
    "key": _hex,
    "digest": _hex,
    "encoder": _hex,
    "encoder_name": _text,
    "method": _method,
    "trained_on": _text,
    "mixture": _mixture,
    "heads": _heads,
    "languages": _texts,
    "context": _text,
    "role": _text,
    "exposure": _exposure,
    "seed": lambda value: (
        ""
        if type(value) is int and 0 <= value < 2**63
        else (f"must be a whole number from 0, not {_short(value)}")
    ),
    "metrics": _metrics,
    "training": _training,
    "versions": _versions,
    "chance": _optional(_number),
    "merge": _optional(_plain),
    "source": lambda value: (
        ""
        if value in SOURCES
        else (f"must be one of {', '.join(map(repr, SOURCES))}, not {_short(value)}")
    ),
}
