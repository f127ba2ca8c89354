"""What every reader gives back, and how it finds labels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from adapters_xitt.errors import DataError, XittError, unknown

NO_LABELS = "; labels that are kept apart are a gold file: gold under the task in a recipe"
# the number of a tag that training has not; losses leave it out, and no prediction equals it
UNSEEN = -100


@dataclass(frozen=True)
class Reading:
    """What one file held."""

    rows: list[dict[str, Any]]
    # reason -> number of rows that could not be used
    skipped: dict[str, int] = field(default_factory=dict)


def apart(
    examples: list[dict[str, Any]], before: Sequence[dict[str, Any]], n: int
) -> list[dict[str, Any]]:
    """The examples of a split's file `n`; an id that an earlier file has gets the file's number, as
    two treebanks may both begin at `s1`. What a search is asked for is named by its id, which
    stays."""
    known = {example["id"] for example in before if "side" not in example}
    return [
        {**example, "id": f"+{n}/{example['id']}"} if example["id"] in known else example
        for example in examples
    ]


def runs(values: Sequence[Hashable]) -> list[int]:
    """For each value, the number of the run of equal neighbours that it is in."""
    numbers: list[int] = []
    for n, value in enumerate(values):
        numbers.append(numbers[-1] + (value != values[n - 1]) if n else 0)
    return numbers


def index_of(
    labels: Sequence[str] | None, aliases: Mapping[str, str] = MappingProxyType({})
) -> dict[str, int]:
    """The number of each label and of its aliases; empty where no labels are read."""
    index = {label: n for n, label in enumerate(labels or ())}
    for label in aliases.values():
        if label not in index:
            raise XittError(unknown("label", label, index))
    return index | {alias: index[label] for alias, label in aliases.items()}


def label_of(name: str, index: Mapping[str, int], *, location: str) -> int:
    """The number of a label; an unknown one is a DataError at `where`."""
    if name not in index:
        raise DataError(f"{location}: {unknown('label', name, index)}")
    return index[name]
