"""A recipe file read and validated whole: every problem told at once, with its line."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from adapters_xitt.errors import Problems, XittError, nearest, unknown
from adapters_xitt.study.recipe.checks import check_files, check_languages, check_names
from adapters_xitt.study.recipe.document import Recipe
from adapters_xitt.study.recipe.yaml_text import DEEPEST, MOST_BYTES, Document, read_value, reason
from adapters_xitt.text_files import text_of

# Steps that pydantic adds where a value may be of two types.
_BRANCHES = ("str", "MethodPart", "MixturePart", "literal", "list[")


@dataclass(frozen=True)
class Draft:
    """A recipe as far as it can be read: `recipe` is it without what is wrong, None where too
    little is left; `doubtful` are the keys whose values were left out."""

    recipe: Recipe | None
    problems: Problems
    doubtful: tuple[tuple, ...] = ()


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file with `key=value` overrides; a `XittError` that lists every
    problem."""
    return _whole(read(path, overrides))


def parse(values: dict[str, Any], *, where: str, lines: dict[tuple, str] | None = None) -> Recipe:
    """The recipe with these values; `lines` says where each key stands."""
    return _whole(_draft(values, where=where, lines=lines or {}))


def _whole(draft: Draft) -> Recipe:
    draft.problems.raise_if_any()
    assert draft.recipe is not None
    return draft.recipe


def read(path: Path, overrides: Sequence[str] = ()) -> Draft:
    """The recipe in a YAML file with `key=value` overrides, and every problem of it; a `XittError`
    where it is no mapping of keys at all."""
    if not os.path.exists(path):  # a name too long for the disk is none either
        beside = (
            sorted(other.name for other in path.parent.glob("*.yaml"))
            if os.path.isdir(path.parent)
            else []
        )
        raise XittError(f"{path}: {unknown('recipe', path.name, beside)}")
    try:
        document = Document(text_of(path, most=4 * MOST_BYTES))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise XittError(f"{path}{line}: not YAML ({reason(error)})") from None
    values, lines = (
        document.value,
        {place: f"line {line}" for place, line in document.lines.items()},
    )
    if not isinstance(values, dict):
        raise XittError(
            f"{path}: a recipe is a mapping of keys; its keys are {', '.join(Recipe.model_fields)}"
        )
    if isinstance(values.get("data"), str):  # short for its root; an override may say more
        values["data"], lines["data", "root"] = {"root": values["data"]}, lines["data",]
    for text in overrides:
        override(values, lines, text)
    values.setdefault("name", re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._"))
    return _draft(values, where=str(path), lines=lines, problems=document.problems)


def _draft(
    values: dict[str, Any],
    *,
    where: str,
    lines: dict[tuple, str],
    problems: Sequence[tuple[tuple, str]] = (),
) -> Draft:
    """The recipe with these values; `problems` is what was wrong with the text."""
    found, wrong = Problems(where), []

    def tell(at: tuple, problem: str) -> None:
        place = next((lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in lines), "")
        found.add(f"{place}{': ' if place else ''}{problem}")
        wrong.append(at)

    for place, problem in problems:
        tell(place, problem)
    values = _expanded(values, (), tell)
    recipe = None
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        for each in error.errors():
            at = tuple(step for step in each["loc"] if not str(step).startswith(_BRANCHES))
            if at[:1] in (("methods",), ("intermediates",)) and each["loc"][-1] == "str":
                continue  # a mapping is as good as a name; the other branch tells what is wrong
            tell(at, _message(at, each))
    check_names(values, tell)
    if found.found:
        recipe = _pruned(values, wrong)
    doubtful = tuple(dict.fromkeys(wrong))
    if recipe is not None:
        check_languages(recipe, tell)
        check_files(recipe, tell)
    return Draft(recipe, found, doubtful)


def _pruned(values: dict[str, Any], wrong: Sequence[tuple]) -> Recipe | None:
    """The recipe without the values at the places that are wrong; None where too little is left."""
    values = copy.deepcopy(values)
    for at in sorted(dict.fromkeys(wrong), key=_last_first, reverse=True):
        inner: Any = values
        for step in at[:-1]:
            inner = inner[step] if _has(inner, step) else None
        if at and _has(inner, at[-1]):
            del inner[at[-1]]
    try:
        return Recipe.model_validate(values)
    except ValidationError:
        return None


def _last_first(at: tuple) -> tuple:
    """What sorts items of a list behind those before them, and parts behind what holds them."""
    return tuple(
        (isinstance(step, int), step if isinstance(step, int) else 0, str(step)) for step in at
    )


def _has(inner: Any, step: Any) -> bool:
    if isinstance(inner, list):
        return isinstance(step, int) and step < len(inner)
    return isinstance(inner, dict) and step in inner


def _message(at: tuple, found: dict[str, Any]) -> str:
    path = ".".join(str(step) for step in at)
    if found["type"] == "extra_forbidden":
        inside, keys = ".".join(map(str, at[:-1])), _keys(at[:-1])
        hint = ""
        if not inside and not nearest(at[-1], keys):  # it may belong into a part
            parts = [f"{part}.{key}" for part in keys for key in _keys((part,))]
            near = nearest(at[-1], [part.partition(".")[2] for part in parts])
            hint = next(
                (
                    f" Did you mean {part!r}?"
                    for part in parts
                    if near and part.endswith(f".{near}")
                ),
                "",
            )
        return unknown(f"key{' in ' + inside if inside else ''}", str(at[-1]), keys) + hint
    if found["type"] == "missing":
        return f"{path}: this key is missing"
    return f"{path}: {found['msg'][0].lower()}{found['msg'][1:]}, not {found['input']!r}"


def _keys(at: tuple) -> list[str]:
    """The keys a recipe has at a place."""
    model: Any = Recipe
    for step in at:
        if get_origin(model) is dict:
            model = get_args(model)[1]
        elif get_origin(model) is list:  # of names or of a part with keys
            model = next(
                (one for one in get_args(get_args(model)[0]) if hasattr(one, "model_fields")), None
            )
        elif step in getattr(model, "model_fields", {}):
            model = model.model_fields[step].annotation
        else:
            return []
    return list(getattr(model, "model_fields", {}))


def _expanded(value: Any, at: tuple, tell: Any) -> Any:
    """`${NAME}` replaced by the environment's value in every text."""
    if isinstance(value, dict):
        return {name: _expanded(item, (*at, name), tell) for name, item in value.items()}
    if isinstance(value, list):
        return [_expanded(item, (*at, n), tell) for n, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in re.findall(r"\$\{(\w+)\}", value):
        if name not in os.environ:
            tell(
                at,
                f"{'.'.join(map(str, at))}: the environment variable {name} is not set; "
                "set it, or write the folder itself",
            )
        value = value.replace("${" + name + "}", os.environ.get(name, ""))
    return value


def override(values: dict[str, Any], lines: dict[tuple, str], text: str) -> None:
    """Sets one `key=value`, the value in YAML, and says in `lines` that it comes from the command
    line."""
    name, equals, written = text.partition("=")
    path = tuple(name.split("."))
    if not equals or not all(path):
        raise XittError(
            f"{text!r}: an override is key=value, as in training.epochs=1 or seeds=[1,2]"
        )
    if len(path) > DEEPEST:
        raise XittError(f"{text[:200]!r}: no key lies so deep")
    value, inner = read_value(written), values
    for step in path[:-1]:
        if not isinstance(inner.setdefault(step, {}), dict):
            raise XittError(f"{text!r}: {step} holds a value, not keys")
        inner = inner[step]
    inner[path[-1]] = value
    for known in [place for place in lines if place[: len(path)] == path]:
        del lines[known]
    lines[path] = f"command line, {text}"
