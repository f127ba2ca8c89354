"""How a module is trained: batches, steps, schedule and validation."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a task is trained; the same for every module of a cohort."""

    batch_size: int = 32  # examples per optimiser step, however many micro-batches carry them
    epochs: float = 3
    max_steps: int | None = None
    warmup: float = 0.1  # share of the steps, linear; then linear decay to zero
    weight_decay: float = 0.01  # not on biases and one-dimensional tensors
    clip: float = 1.0  # gradient norm
    tokens: int = 4096  # tokens a micro-batch may hold, padding included
    evaluate_every: int | None = None  # steps between validations; None: ten validations in all
    # validations without a better score before a module stops; None: never
    patience: int | None = None
    optimizer: str = "32"  # AdamW's moments; 8bit: bitsandbytes'
    # steps on top: the control that trains the target for the intermediate's steps too
    more_steps: int = 0
    dropout: float | None = None  # of the encoder's own layers; None: as its configuration says

    def steps(self, epoch: float) -> int:
        """Optimiser steps in all, from those of one epoch."""
        steps = math.ceil(epoch * self.epochs)
        return max(1, min(steps, self.max_steps or steps)) + self.more_steps

    def validate_every(self, steps: int) -> int:
        """Steps from one validation to the next."""
        return self.evaluate_every or math.ceil(steps / 10)

    def warmup_steps(self, total: int) -> int:
        """Steps of the warm-up."""
        return math.ceil(total * self.warmup)

    def rate_share(self, step: int, total: int) -> float:
        """Share of the learning rate at a step, 0 the first: up over the warm-up, down to zero at
        the end."""
        rise = self.warmup_steps(total)
        return (step + 1) / rise if step < rise else (total - step) / max(1, total - rise)

    def record(self) -> dict[str, Any]:
        """As JSON, for manifests."""
        return asdict(self)

    def resolved(self, total: int) -> dict[str, Any]:
        """What decides the numbers of `total` steps, for keys; dropout and batch sizes are resolved
        elsewhere. A micro-batch's size decides them within rounding, and what dropout draws."""
        every = min(self.validate_every(total), total)
        validations = math.ceil(total / every)
        patience = self.patience
        # The first validation is always the best so far, and stopping at the last stops nothing.
        if patience is not None and patience > validations - 2:
            patience = None
        return {
            "steps": total,
            # a single step has the whole rate
            "warmup_steps": self.warmup_steps(total) if total > 1 else 0,
            "evaluate_every": every,
            "weight_decay": float(self.weight_decay),
            "clip": float(self.clip),
            "tokens": self.tokens,
            **({"patience": patience} if patience is not None else {}),
            **({"optimizer": self.optimizer} if self.optimizer != "32" else {}),
        }
