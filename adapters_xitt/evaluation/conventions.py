"""How a task is read and scored: the depth it reads, and what its score is called where sources
disagree."""

from __future__ import annotations

from adapters_xitt.kinds import KINDS
from adapters_xitt.tasks import Task


def layer_of(task: Task, layers: int, *, name: str | None = None, layer: int | None = None) -> int:
    """The depth a task reads: the top, or for retrieval that of its convention, in proportion to 24
    layers."""
    if task.trains:
        return layers
    return layer if layer is not None else round(layers * task.reading(name).layer)


def convention(
    task: Task, layers: int, *, name: str | None = None, layer: int | None = None
) -> str:
    """The name of the choices a score depends on where sources disagree; part of the cell's
    identity."""
    kind, reading = KINDS[task.kind], task.reading(name)
    scoring = kind.scoring_by.get(task.metric, kind.scoring)
    if task.trains:
        return ", ".join(filter(None, (scoring, kind.named_reading.format(name=reading.name))))
    pooled = "first token" if reading.pooling == "first" else "mean over tokens"
    depth = layer_of(task, layers, name=name, layer=layer)
    paragraph = ", sentence and paragraph" if reading.context else ""
    return f"{pooled} at layer {depth} of {layers}, {scoring}{paragraph}"
