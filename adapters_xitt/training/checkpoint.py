"""Checkpoints of half-trained modules: everything that a resumed run needs to go on as if nothing
had happened."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Protocol

import torch
from torch import Tensor

from adapters_xitt.training.module import ModuleInTraining, Progress

# What AdamW keeps of a parameter: torch's, and bitsandbytes'.
MOMENTS = (
    "exp_avg",
    "exp_avg_sq",
    "step",
    "state1",
    "state2",
    "qmap1",
    "qmap2",
    "absmax1",
    "absmax2",
)


class Checkpointer(Protocol):
    """Where half-trained modules are kept."""

    def load(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None: ...

    def save(self, key: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None: ...


class Checkpoints:
    """Keeps modules every so many seconds. Large states are kept less often: no more than a
    twentieth of the time goes into keeping them."""

    def __init__(self, checkpointer: Checkpointer, every: float) -> None:
        self.checkpointer, self.every = checkpointer, every
        self._last, self._pause = time.monotonic(), every

    @property
    def due(self) -> bool:
        """Whether it is time for the next."""
        return time.monotonic() - self._last > self._pause

    def save(self, modules: Sequence[ModuleInTraining]) -> None:
        """Keeps modules as they are now."""
        began = time.monotonic()
        for module in modules:
            save(module, self.checkpointer)
        self._last = time.monotonic()
        self._pause = max(self.every, 20 * (self._last - began))


def save(module: ModuleInTraining, checkpointer: Checkpointer) -> None:
    """Keeps a module: its tensors now and at their best, its moments, and how far it is."""
    tensors = {f"best.{name}": value for name, value in module.best.items()}
    for name, parameter in module.named_parameters().items():
        tensors[f"now.{name}"] = parameter.detach()
        # none for a head whose turn has not come yet
        moments = module.optimizer.optimizer.state.get(parameter, {})
        for moment, value in moments.items():
            tensors[f"{moment}.{name}"] = torch.as_tensor(value)
    state = {
        "step": module.step,
        "scaler": module.scaler.state_dict(),
        **asdict(module.progress),
    }
    checkpointer.save(module.key, tensors, state)


def restore(module: ModuleInTraining, checkpointer: Checkpointer) -> None:
    """Puts a module where its checkpoint left it; without one it stays as it is."""
    checkpoint = checkpointer.load(module.key)
    if checkpoint is None:
        return
    tensors, state = checkpoint
    module.step = state.pop("step")
    module.scaler.load_state_dict(state.pop("scaler"))
    module.progress = Progress(**state)
    module.best = {
        name.removeprefix("best."): value
        for name, value in tensors.items()
        if name.startswith("best.")
    }
    for name, parameter in module.named_parameters().items():
        parameter.data.copy_(tensors[f"now.{name}"])
        moments: dict[str, Any] = {}
        for moment in MOMENTS:
            if f"{moment}.{name}" in tensors:
                device = "cpu" if moment == "step" else parameter.device
                moments[moment] = tensors[f"{moment}.{name}"].to(device)
        if "state1" in moments:
            moments["step"] = int(moments["step"])  # bitsandbytes counts in plain numbers
        if moments:
            module.optimizer.optimizer.state[parameter] = moments
