"""Patterns of `peft`, which give some weights another rank or alpha than the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters_xitt.errors import Problems, XittError
from adapters_xitt.modules.formats.foreign import Tensors, shorten

PATTERNS = ("rank_pattern", "alpha_pattern")
# a key of a pattern that is a name; others are not run
_LITERAL = re.compile(r"[A-Za-z0-9_.]{1,200}")


def level_ranks(
    tensors: Tensors, config: Mapping[str, Any], path: Path, above: str
) -> tuple[Tensors, Any]:
    """The updates with one rank and alpha, where patterns give some weights others: A and B filled
    up with zeros to the largest rank, B scaled by how their alpha over the rank differs. The same
    ΔW, to the rounding of one product. `above`: where the encoder stands in the model that the
    patterns' names are of."""
    from torch.nn.functional import pad

    rank, alpha = config.get("r", 8), config.get("lora_alpha", 8)
    patterns = {name: config.get(name) or {} for name in PATTERNS}
    if not any(patterns.values()):
        return tensors, rank
    _check_patterns(patterns, rank, alpha, path)
    weights = sorted({name.rpartition(".lora_")[0] for name in tensors})
    ranks, alphas = (
        {name: _by_name(patterns[pattern], above + name, default) for name in weights}
        for pattern, default in zip(PATTERNS, (rank, alpha), strict=True)
    )
    most, power = max(ranks.values()), 0.5 if config.get("use_rslora") else 1.0
    level = dict(tensors)
    for name in weights:
        down, up = f"{name}.lora_A.weight", f"{name}.lora_B.weight"
        if not all(end in tensors and tensors[end].ndim == 2 for end in (down, up)):
            continue  # whoever compares the tensors with the encoder tells it
        if {tensors[down].shape[0], tensors[up].shape[1]} != {ranks[name]}:
            raise XittError(
                f"{path}: {name} has rank {ranks[name]} by the patterns, its tensors have "
                f"{tensors[down].shape[0]} and {tensors[up].shape[1]}"
            )
        scale = (alphas[name] / ranks[name] ** power) / (alpha / most**power)
        level[down] = pad(tensors[down], (0, 0, 0, most - ranks[name]))
        level[up] = pad(tensors[up] * scale, (0, most - ranks[name]))
    return level, most


def _check_patterns(patterns: Mapping[str, Any], rank: Any, alpha: Any, path: Path) -> None:
    """Patterns that are names with numbers; a regular expression of a folder is not run."""
    problems = Problems(str(path))
    for name, pattern in patterns.items():
        if not isinstance(pattern, dict):
            problems.add(f"{name} must map names onto numbers, not {shorten(pattern)}")
            continue
        for key, value in pattern.items():
            if not _LITERAL.fullmatch(key):
                problems.add(
                    f"{name} has the expression {shorten(key)}; only names of weights are read"
                    " here. Write the weights that it finds by their names, one entry each"
                )
            good = type(value) is int or (name == "alpha_pattern" and isinstance(value, float))
            if not good or not 0 < value <= 2**20:
                problems.add(
                    f"{name} gives {shorten(key)} {shorten(value)}; a number above 0 is needed"
                )
    for name, value in (("r", rank), ("lora_alpha", alpha)):
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= 2**20:
            problems.add(f"{name} is {shorten(value)}; a number above 0 is needed")
    problems.raise_if_any()


def _by_name(pattern: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value for a weight: that of the first key which is its name or the end of it, at a dot
    (peft's rule)."""
    return next(
        (value for key, value in pattern.items() if f".{name}".endswith(f".{key}")), default
    )
