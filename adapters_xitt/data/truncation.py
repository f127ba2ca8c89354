"""What the caps on lengths cut off from examples: counted, and told in a line for each task. What
can be told of a kind is said in its file in `kinds/`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adapters_xitt.data.features import Features

END = "items lost their end"


def examples_cut(features: Features) -> int:
    """How many examples lost something in one of their features."""
    return len(np.unique(features.columns["example"][features.columns["lost"] > 0]))


def lines(
    name: str, by_part: Mapping[str, Mapping[str, int]], sizes: Mapping[str, int]
) -> list[str]:
    """A line for everything that the examples of a task lost; `by_part`: what was lost by language,
    or in training, `sizes` the examples there."""
    everything = dict.fromkeys(what for losses in by_part.values() for what in losses)
    texts = []
    for what in everything:
        counts = {part: losses[what] for part, losses in by_part.items() if losses.get(what)}
        each = ", ".join(f"{part} {count:,}" for part, count in counts.items())
        texts.append(
            f"{name}: {sum(counts.values()):,} {what}, of {sum(sizes.values()):,} examples"
            f" ({each}); tasks.{name}.lengths sets the caps"
        )
    return texts
