"""What a cohort trains with, and who is told how it goes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lightning_fabric import Fabric

from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.trunk import KeptTrunk
from adapters_xitt.training.checkpoint import Checkpointer
from adapters_xitt.training.settings import Settings


class Callback(Protocol):
    """Who is told how it goes."""

    def on_step(self, key: str, *, step: int, loss: float | None, tokens: int) -> None:
        """A module took a step over so many tokens."""

    def on_validation(self, key: str, *, step: int, scores: dict[str, float | None]) -> None:
        """A module was scored on the selection split."""

    def on_tokens(self, tokens: int) -> None:
        """So many tokens were read beside the steps."""

    def on_message(self, text: str) -> None:
        """Something worth a line."""


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """What a cohort trains with. Its modules are in `adapted`."""

    settings: Settings
    adapted: AdaptedEncoder
    fabric: Fabric
    seed: int
    steps: int
    callback: Callback
    checkpointer: Checkpointer
    checkpoint_every: float = 60.0  # seconds
    # what lies below all modules, kept; without it, it runs in every step
    trunk: KeptTrunk | None = None
