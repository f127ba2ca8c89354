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
    MergeMethod,
    Nothing,
    Part,
    Scaled,
    Stack,
    Sum,
    chain,
    fusion_parts,
    heads,
    names,
    rename,
    replace_unmade,
    scale,
    untrained_parts,
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
    "MergeMethod",
    "Nothing",
    "Part",
    "Scaled",
    "Stack",
    "Sum",
    "chain",
    "fusion_parts",
    "heads",
    "names",
    "parse",
    "rename",
    "replace_unmade",
    "scale",
    "show",
    "untrained_parts",
    "weights",
]
