"""A module in training: what is trained of it, its optimiser, and how it goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from adapters_xitt.errors import XittError
from adapters_xitt.model.setup import AdapterSetup
from adapters_xitt.training.settings import Settings


@dataclass
class Progress:
    """How the training of a module goes, as its checkpoints keep it."""

    best_score: float | None = None
    best_step: int = 0
    worse: int = 0  # validations since the best
    stopped: bool = False
    loss: float | None = None  # of the last step
    history: list[dict[str, Any]] = field(default_factory=list)  # a record of each validation


@dataclass(frozen=True)
class TrainingResult:
    """What training gave: the tensors at the best validation, and how it went; `failed` says why
    there are none to use."""

    tensors: dict[str, Tensor]
    metrics: dict[str, Any]
    failed: str | None = None


@dataclass
class ModuleInTraining:
    """One module of a cohort, in the encoder. Its heads, its optimiser and the scaler of its loss
    are its own: modules side by side stay apart."""

    key: str
    title: str
    setup: AdapterSetup
    parameters: dict[str, nn.Parameter]  # what is trained in the encoder, by name
    heads: dict[str, nn.Module]  # by label space
    learning_rate: float
    optimizer: Any = None
    scaler: Any = None  # of the loss, in fp16
    step: int = 0  # steps taken
    best: dict[str, Tensor] = field(default_factory=dict)  # tensors at the best validation
    progress: Progress = field(default_factory=Progress)
    failed: str | None = None  # why it trains no more

    def named_parameters(self) -> dict[str, nn.Parameter]:
        """Everything that is trained: `encoder.` and `head.` names."""
        named = {f"encoder.{name}": value for name, value in self.parameters.items()}
        for space, head in self.heads.items():
            for name, value in head.named_parameters():
                named[f"head.{space}.{name}"] = value
        return named

    def set_up(self, settings: Settings, fabric: Fabric) -> None:
        """Gradients on for exactly what it trains, and its optimiser."""
        decaying: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for parameter in self.named_parameters().values():
            parameter.requires_grad_(True)
            (decaying if parameter.ndim > 1 else plain).append(parameter)
        groups = [
            {"params": decaying, "weight_decay": settings.weight_decay},
            {"params": plain, "weight_decay": 0.0},
        ]
        adamw = _adamw(settings)(groups, lr=self.learning_rate, eps=1e-8)
        self.optimizer = fabric.setup_optimizers(adamw)
        half = fabric.strategy.precision.precision == "16-mixed"
        self.scaler = torch.amp.GradScaler(fabric.device.type, enabled=half)

    def backward(self, loss: Tensor, fabric: Fabric) -> None:
        """Adds the gradients of a loss."""
        fabric.backward(self.scaler.scale(loss))

    def take_step(self, rate_share: float, clip: float) -> None:
        """An optimiser step from the gradients there are; none where half precision overflowed, but
        a smaller scale of the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate * rate_share
        self.scaler.unscale_(self.optimizer.optimizer)
        torch.nn.utils.clip_grad_norm_(list(self.named_parameters().values()), clip)
        self.scaler.step(self.optimizer.optimizer)
        self.scaler.update()
        self.drop_gradients()

    def drop_gradients(self) -> None:
        """Forgets the gradients of a step."""
        self.optimizer.zero_grad(set_to_none=True)

    def fail(self, reason: str) -> None:
        """Ends its training without a result."""
        self.failed, self.progress.stopped = reason, True
        self.drop_gradients()

    def keep_best(self, score: float, patience: int | None) -> None:
        """Keeps the tensors where a validation's score is the best so far; stops where it has not
        been for `patience` validations."""
        progress = self.progress
        if progress.best_score is None or score > progress.best_score:
            progress.best_score, progress.best_step, progress.worse = score, self.step, 0
            named = self.named_parameters()
            self.best = {name: value.detach().cpu().clone() for name, value in named.items()}
        else:
            progress.worse += 1
            progress.stopped = patience is not None and progress.worse >= patience

    def result(self, planned_steps: int) -> TrainingResult:
        """The best tensors, gradients off again."""
        for parameter in self.named_parameters().values():
            parameter.requires_grad_(False)
            parameter.grad = None
        metrics = {
            "score": self.progress.best_score,
            "step": self.progress.best_step,
            "steps": self.step,
            "planned_steps": planned_steps,
            "history": self.progress.history,
        }
        return TrainingResult(self.best, metrics, self.failed)


def _adamw(settings: Settings) -> Any:
    if settings.optimizer == "32":
        return torch.optim.AdamW
    if not find_spec("bitsandbytes"):
        raise XittError(
            "optimizer 8bit needs the package bitsandbytes: pip install 'adapters-xitt[quant]'"
        )
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit
