"""A recipe file read and validated whole: every problem told at once, with its line."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from adapters_xitt.errors import Problems, XittError, unknown
from adapters_xitt.readers.files import text_of
from adapters_xitt.recipe.checks import check_files, check_languages, check_names
from adapters_xitt.recipe.document import Recipe
from adapters_xitt.recipe.yaml_text import DEEPEST, MOST_BYTES, Document, read_value, reason

# Steps that pydantic adds where a value may be of two types.
_BRANCHES = ("str", "MethodPart", "MixturePart", "literal", "list[")


def load(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe in a YAML file with `key=value` overrides; a `XittError` that lists every problem."""
    if not os.path.exists(path):  # a name too long for the disk is none either
        beside = sorted(other.name for other in path.parent.glob("*.yaml")) if os.path.isdir(path.parent) else []
        raise XittError(f"{path}: {unknown('recipe', path.name, beside)}")
    try:
        document = Document(text_of(path, most=4 * MOST_BYTES))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise XittError(f"{path}{line}: not YAML ({reason(error)})") from None
    values, lines = document.value, {place: f"line {line}" for place, line in document.lines.items()}
    if not isinstance(values, dict):
        raise XittError(f"{path}: a recipe is a mapping of keys; its keys are {', '.join(Recipe.model_fields)}")
    for text in overrides:
        override(values, lines, text)
    values.setdefault("name", re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower()).strip("-._"))
    return parse(values, where=str(path), lines=lines, problems=document.problems)


def parse(values: dict[str, Any], *, where: str, lines: dict[tuple, str] | None = None,
          problems: Sequence[tuple[tuple, str]] = ()) -> Recipe:
    """The recipe with these values; `lines` says where each key stands, `problems` what was wrong with the text."""
    found, lines = Problems(where), lines or {}

    def tell(at: tuple, problem: str) -> None:
        place = next((lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in lines), "")
        found.add(f"{place}{': ' if place else ''}{problem}")

    for place, problem in problems:
        tell(place, problem)
    values = _expanded(values, (), tell)
    recipe = None
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        for wrong in error.errors():
            at = tuple(step for step in wrong["loc"] if not str(step).startswith(_BRANCHES))
            if at[:1] in (("methods",), ("intermediates",)) and wrong["loc"][-1] == "str":
                continue  # a mapping is as good as a name; the other branch tells what is wrong
            tell(at, _message(at, wrong))
    check_names(values, tell)
    if recipe is not None:
        check_languages(recipe, tell)
        check_files(recipe, tell)
    found.raise_if_any()
    assert recipe is not None
    return recipe


def _message(at: tuple, found: dict[str, Any]) -> str:
    path = ".".join(str(step) for step in at)
    if found["type"] == "extra_forbidden":
        return unknown(f"key{' in ' + '.'.join(map(str, at[:-1])) if at[:-1] else ''}", str(at[-1]), _keys(at[:-1]))
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
            model = next((one for one in get_args(get_args(model)[0]) if hasattr(one, "model_fields")), None)
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
            tell(at, f"{'.'.join(map(str, at))}: the environment variable {name} is not set; "
                     f"set it, or write the folder itself")
        value = value.replace("${" + name + "}", os.environ.get(name, ""))
    return value


def override(values: dict[str, Any], lines: dict[tuple, str], text: str) -> None:
    """Sets one `key=value`, the value in YAML, and says in `lines` that it comes from the command line."""
    name, equals, written = text.partition("=")
    path = tuple(name.split("."))
    if not equals or not all(path):
        raise XittError(f"{text!r}: an override is key=value, as in training.epochs=1 or seeds=[1,2]")
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
