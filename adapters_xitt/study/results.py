"""What a grid is made of: the cell, its result, and the versions that made it."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field, fields
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from adapters_xitt import hashing

DONE, FAILED, BLOCKED, NOT_APPLICABLE = "done", "failed", "blocked", "not applicable"
STATUSES = (DONE, BLOCKED, NOT_APPLICABLE, FAILED)
LIBRARIES = (
    "adapters-xitt",
    "torch",
    "transformers",
    "adapters",
    "peft",
    "datasets",
    "evaluate",
    "lightning-fabric",
    "safetensors",
    "tokenizers",
)


UNHASHED = ("split", "seed")  # fields of a cell that others stand for


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The identity of one number."""

    encoder: str  # fingerprint
    composition: str  # over module keys
    task: str
    language: str
    split: str
    data: str  # digest of the tested rows
    lengths: dict[str, int]  # caps of the encoding
    seed: int | None  # None where nothing random took part
    precision: str
    convention: str
    head: str = ""  # key of the module whose head stands on top; empty: the composition's own
    # digest of the checkpoint's own head, where masked words are guessed and it has one
    lm_head: str = ""

    @cached_property
    def key(self) -> str:
        # The rows' digest and the modules' keys say what the split's name and the seed stand for.
        inputs = {name: value for name, value in self.record().items() if name not in UNHASHED}
        return hashing.key(
            "evaluate",
            {
                name: value
                for name, value in inputs.items()
                if value or name not in ("head", "lm_head")
            },
        )

    def record(self) -> dict[str, Any]:
        """Its fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}


@dataclass(frozen=True, kw_only=True)
class Result:
    """A cell that was scored, or why it was not."""

    cell: Cell
    status: str
    scores: dict[str, float] = field(default_factory=dict)
    headline: str = ""  # the score that stands in the grid
    examples: int = 0
    skipped: dict[str, int] = field(default_factory=dict)  # rows of the file that could not be used
    # what the caps on lengths cut off: what → how many
    truncated: dict[str, int] = field(default_factory=dict)
    tag: str = ""  # zero-shot | language-seen | task+language-seen
    overlap: float = 0.0  # share of tested items with a text seen in training or selection
    reason: str = ""
    predictions: str = ""  # digest of what was stored
    # of a fusion, the keys of the modules it weights
    parts: list[str] = field(default_factory=list)
    # and how: [layers and places from the lowest up, parts]
    weights: list[list[float]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Result:
        return cls(**{**record, "cell": Cell(**record["cell"])})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One place of the grid: where it stands, and the key of the cell that fills it."""

    method: str
    intermediate: str  # "" in the rows of `none`
    mode: str
    target: str
    language: str
    seed: int
    status: str | None = None  # decided by the plan: blocked, not applicable; None: to be scored
    reason: str = ""
    tag: str = ""
    overlap: float = 0.0
    key: str = ""
    # of the cell of the same row on its target's selection split, where the recipe asks for it
    calibration_key: str = ""

    def record(self) -> dict[str, Any]:
        """Its fields; no calibration key where there is none."""
        fields = asdict(self)
        if not self.calibration_key:
            del fields["calibration_key"]
        return fields


def versions() -> dict[str, str]:
    """The versions of Python and of the libraries that decide numbers."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Looked up once: reading the libraries' own records takes 30 ms, and every result has them."""
    installed = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            installed[name] = "not installed"
    return installed
