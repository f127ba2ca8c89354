"""The heads of tasks: fresh ones, and those that modules bring along."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from adapters_xitt.data.mixture import space
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.kinds.vectors import Pool
from adapters_xitt.model.encoder import Encoder
from adapters_xitt.model.session import ModelSession
from adapters_xitt.modules.manifest import Module
from adapters_xitt.tasks import Task


def build(kind: str, encoder: Encoder, labels: int, *, seed: int) -> nn.Module:
    """A fresh head; weights N(0, 0.02) as the encoder's own, biases zero. That of masked language
    modelling starts from the checkpoint's, where its file has one."""
    torch.manual_seed(seed)
    head = KINDS[kind].head(encoder, labels)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    if KINDS[kind].masks:
        fresh = head.state_dict()
        head.load_state_dict(
            {name: encoder.lm_head.get(name, value) for name, value in fresh.items()}
        )
    return head


def for_task(
    task: Task,
    modules: Sequence[Module],
    session: ModelSession,
    *,
    seed: int = 0,
    pooling: str = "mean",
) -> nn.Module:
    """The head of a task's label space: that of the first module that has it, or a fresh one where
    there are no modules; `pooling` where nothing is trained."""
    if not task.trains:
        return Pool(pooling)
    head = build(task.kind, session.adapted.encoder, len(task.labels), seed=seed)
    if modules:
        part = f"head.{space(task)}"
        module = next((module for module in modules if module.part(part)), modules[0])
        stored, fresh = module.part(part), head.state_dict()
        shapes = {name: value.shape for name, value in fresh.items()}
        if {name: value.shape for name, value in stored.items()} != shapes:
            raise XittError(
                f"module {module.manifest.key[:12]} ({module.manifest.role}): it has no head that"
                f" fits kind {task.kind!r} with labels {' '.join(task.labels) or '(none)'}"
            )
        head.load_state_dict(stored)
    return head.to(session.fabric.device)
