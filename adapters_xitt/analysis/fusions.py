"""How trained fusions weight their parts: attention over layers and languages, or learned
weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.analysis.frame import ordered


@dataclass(frozen=True)
class Fusion:
    """One fusion row on one target. `weights` is [seeds, languages, positions, parts], positions
    from the lowest up: a bottleneck of a layer, or a projection that low-rank updates change.
    Attention sums to one over the parts."""

    method: str
    intermediate: str
    target: str
    seeds: tuple[int, ...]
    languages: tuple[str, ...]
    parts: tuple[str, ...]
    weights: NDArray

    @property
    def by_part(self) -> list[tuple[str, float, float | None]]:
        """Each part, its mean weight over languages and positions, and the spread of that mean over
        seeds."""
        each = self.weights.mean(axis=(1, 2))  # [seeds, parts]
        spread = each.std(axis=0, ddof=1) if len(each) > 1 else [None] * len(self.parts)
        return [
            (part, float(mean), None if deviation is None else float(deviation))
            for part, mean, deviation in zip(self.parts, each.mean(axis=0), spread, strict=True)
        ]


def fused(grid: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries that a trained fusion answered, in the order of the grid."""
    return [entry for entry in ordered(grid) if entry.get("fusion")]


def fusions(grid: dict[str, Any]) -> list[Fusion]:
    """Every fusion row on every target, over the languages that each of its seeds has."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for entry in fused(grid):
        groups.setdefault((entry["method"], entry["intermediate"], entry["target"]), []).append(
            entry
        )
    combined = [_fusion(*key, entries) for key, entries in groups.items()]
    return [fusion for fusion in combined if fusion.languages]


def _fusion(
    method: str, intermediate: str, target: str, entries: Sequence[dict[str, Any]]
) -> Fusion:
    records = {(entry["seed"], entry["language"]): entry["fusion"] for entry in entries}
    seeds = tuple(sorted({seed for seed, _ in records}))
    languages = tuple(
        code
        for code in dict.fromkeys(code for _, code in records)
        if all((seed, code) in records for seed in seeds)
    )
    weights = np.array([[records[seed, code]["weights"] for code in languages] for seed in seeds])
    return Fusion(
        method,
        intermediate,
        target,
        seeds,
        languages,
        tuple(entries[0]["fusion"]["parts"]),
        weights,
    )
