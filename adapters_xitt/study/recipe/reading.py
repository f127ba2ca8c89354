"""A recipe file read and validated whole: every problem told at once, with its line."""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

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


def parse(values: dict[str, Any], *, source: str, lines: dict[tuple, str] | None = None) -> Recipe:
    """The recipe with these values; `lines` says where each key stands."""
    return _whole(_draft(values, source=source, lines=lines or {}))


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
    return _draft(values, source=str(path), lines=lines, problems=document.problems)


def _draft(
    values: dict[str, Any],
    *,
    source: str,
    lines: dict[tuple, str],
    problems: Sequence[tuple[tuple, str]] = (),
) -> Draft:
    """The recipe with these values; `problems` is what was wrong with the text."""
    collected, wrong = Problems(source), []

    def tell(place: tuple, problem: str) -> None:
        line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), "")
        collected.add(f"{line}{': ' if line else ''}{problem}")
        wrong.append(place)

    for line, problem in problems:
        tell(line, problem)
    values = _expand_variables(values, (), tell)
    recipe = None
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        for each in error.errors():
            place = tuple(step for step in each["loc"] if not str(step).startswith(_BRANCHES))
            if place[:1] in (("methods",), ("intermediates",)) and each["loc"][-1] == "str":
                continue  # a mapping is as good as a name; the other branch tells what is wrong
            tell(place, _message(place, each))
    check_names(values, tell)
    if collected.problems:
        recipe = _prune(values, wrong)
    doubtful = tuple(dict.fromkeys(wrong))
    if recipe is not None:
        check_languages(recipe, tell)
        check_files(recipe, tell)
    return Draft(recipe, collected, doubtful)


def _prune(values: dict[str, Any], wrong: Sequence[tuple]) -> Recipe | None:
    """The recipe without the values at the places that are wrong; None where too little is left."""
    values = copy.deepcopy(values)
    for place in sorted(dict.fromkeys(wrong), key=_last_first, reverse=True):
        inner: Any = values
        for step in place[:-1]:
            inner = inner[step] if _has(inner, step) else None
        if place and _has(inner, place[-1]):
            del inner[place[-1]]
    try:
        return Recipe.model_validate(values)
    except ValidationError:
        return None


def _last_first(place: tuple) -> tuple:
    """What sorts items of a list behind those before them, and parts behind what holds them."""
    return tuple(
        (isinstance(step, int), step if isinstance(step, int) else 0, str(step)) for step in place
    )


def _has(inner: Any, step: Any) -> bool:
    if isinstance(inner, list):
        return isinstance(step, int) and step < len(inner)
    return isinstance(inner, dict) and step in inner


def _message(place: tuple, problem: Mapping[str, Any]) -> str:
    path = ".".join(str(step) for step in place)
    if problem["type"] == "extra_forbidden":
        inside, keys = ".".join(map(str, place[:-1])), _keys(place[:-1])
        hint = ""
        if not inside and not nearest(place[-1], keys):  # it may belong into a part
            parts = [f"{part}.{key}" for part in keys for key in _keys((part,))]
            near = nearest(place[-1], [part.partition(".")[2] for part in parts])
            hint = next(
                (
                    f" Did you mean {part!r}?"
                    for part in parts
                    if near and part.endswith(f".{near}")
                ),
                "",
            )
        return unknown(f"key{' in ' + inside if inside else ''}", str(place[-1]), keys) + hint
    if problem["type"] == "missing":
        return f"{path}: this key is missing"
    return f"{path}: {problem['msg'][0].lower()}{problem['msg'][1:]}, not {problem['input']!r}"


def _keys(place: tuple) -> list[str]:
    """The keys a recipe has at a place."""
    model: Any = Recipe
    for step in place:
        if get_origin(model) is Annotated:
            model = get_args(model)[0]
        if get_origin(model) is dict:
            model = get_args(model)[1]
        elif get_origin(model) is list:  # of names, of a part with keys, or of mappings
            (inner,) = get_args(model)
            parts = [part for part in (inner, *get_args(inner)) if hasattr(part, "model_fields")]
            model = parts[0] if parts and get_origin(inner) is not Annotated else inner
        elif step in getattr(model, "model_fields", {}):
            model = model.model_fields[step].annotation
        else:
            return []
    return list(getattr(model, "model_fields", {}))


def _expand_variables(value: Any, place: tuple, tell: Any) -> Any:
    """`${NAME}` replaced by the environment's value in every text."""
    if isinstance(value, dict):
        return {name: _expand_variables(item, (*place, name), tell) for name, item in value.items()}
    if isinstance(value, list):
        return [_expand_variables(item, (*place, n), tell) for n, item in enumerate(value)]
    if not isinstance(value, str):
        return value
    for name in re.findall(r"\$\{(\w+)\}", value):
        if name not in os.environ:
            tell(
                place,
                f"{'.'.join(map(str, place))}: the environment variable {name} is not set; "
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
