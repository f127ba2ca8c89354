"""A recipe: the closed document that says what a grid asks. Validated whole; every problem is told
at once, with its line, the nearest match and the choices."""

from __future__ import annotations

from adapters_xitt.study.recipe.document import CONTROLS, TARGET, Recipe, elsewhere
from adapters_xitt.study.recipe.reading import Draft, load, override, parse, read
from adapters_xitt.study.recipe.reads import Reads, check_overrides
from adapters_xitt.study.recipe.yaml_text import read_value

__all__ = [
    "CONTROLS",
    "TARGET",
    "Draft",
    "Reads",
    "Recipe",
    "check_overrides",
    "elsewhere",
    "load",
    "override",
    "parse",
    "read",
    "read_value",
]
