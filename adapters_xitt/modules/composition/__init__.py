"""Compositions: frozen expressions over named modules, their text form and its parser.

`none` · `a` · `a > b` (stack, bottom first) · `a + b` (sum of low-rank updates) · `0.6*a - 0.2*b`
(weighted, task arithmetic) · `f(a, b)` (a trained fusion f over a and b) · `fuse(a, b)` (one that
is still to be trained) · `ties(a, 2*b, density=0.3)` (one of `MERGES`, weighted by what stands
before its parts) · `$lang` (the module of the language under evaluation) · parentheses. A name with
other signs in it stands in quotes."""

from __future__ import annotations

from adapters_xitt.modules.composition.nodes import (
    FULL,
    FUSE,
    LANG,
    MERGES,
    Composition,
    Fuse,
    Merge,
    Nothing,
    Part,
    Scaled,
    Stack,
    Sum,
    Way,
    chained,
    fused,
    heads,
    names,
    rename,
    replaced,
    scaled,
    untrained,
    weights,
)
from adapters_xitt.modules.composition.parser import parse, show

__all__ = [
    "FULL",
    "FUSE",
    "LANG",
    "MERGES",
    "Composition",
    "Fuse",
    "Merge",
    "Nothing",
    "Part",
    "Scaled",
    "Stack",
    "Sum",
    "Way",
    "chained",
    "fused",
    "heads",
    "names",
    "parse",
    "rename",
    "replaced",
    "scaled",
    "show",
    "untrained",
    "weights",
]
