"""The heads of other libraries' modules: which tasks one answers, and its outputs in the order of
the task's labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from adapters_xitt import tasks
from adapters_xitt.data import mixture
from adapters_xitt.errors import XittError
from adapters_xitt.model import pretrained
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.modules.formats import foreign
from adapters_xitt.modules.formats.foreign import ForeignModule, Head, Tensors
from adapters_xitt.progress import notify
from adapters_xitt.tasks import Task
from adapters_xitt.text import printable


@dataclass(frozen=True)
class FittedHead:
    """A head as the store keeps it."""

    task: Task | None  # that it answers, with its labels; None: of none
    space: str
    kind: str
    labels: tuple[str, ...]
    tensors: Tensors


def answered_tasks(head: Head, labels: Sequence[str] | None) -> list[str]:
    """The tasks that a head could answer, by its kind and labels, or by the number of its outputs
    where nobody has named them."""
    same_kind = [task for task in tasks.TASKS.values() if task.trains and task.kind == head.kind]
    if head.kind in foreign.OUTPUTS:
        return [task.name for task in same_kind]
    if labels:
        return [task.name for task in same_kind if sorted(task.labels) == sorted(labels)]
    return [task.name for task in same_kind if len(task.labels) == head.outputs]


def fit_head(
    module: ForeignModule,
    head: Head,
    task: Task | None,
    labels: Sequence[str],
    encoder: EncoderFiles,
) -> FittedHead:
    """A head for `task`, its outputs in the order of the task's labels; without a task with labels
    of its own. A `XittError` where the two don't fit."""
    if task is None:
        return _keep(module, head, labels)
    task, tensors = _reorder(module, head, task, labels, encoder)
    return FittedHead(task, mixture.space(task), task.kind, tuple(task.labels), tensors)


def _keep(module: ForeignModule, head: Head, labels: Sequence[str]) -> FittedHead:
    """A head that answers none of the tasks: its outputs mean what its own data called them."""
    distinct = _distinct_labels(module, head, labels)
    subsets = [
        task.name
        for task in tasks.TASKS.values()
        if head.kind == task.kind == "tagging" and task.labels and set(task.labels) < set(distinct)
    ]
    line = (
        f"its head is kept with labels of its own ({printable(' '.join(distinct[:20]))}), which no"
        " task has: it is scored on none"
    )
    if subsets:
        names = ", ".join(subsets)
        line += f"; --task keeps the outputs of one whose labels are among them: {names}"
    notify(line)
    space = mixture.space_of(head.kind, distinct)
    return FittedHead(None, space, head.kind, distinct, head.tensors)


def _distinct_labels(module: ForeignModule, head: Head, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of a head's outputs, given or its own: one each."""
    given = tuple(labels) or head.labels or ()
    if len(given) != head.outputs or len(set(given)) < len(given):
        raise XittError(
            f"{module.folder}: {len(given)} labels ({printable(' '.join(given))}) for a head with "
            f"{head.outputs} outputs; each output has one of its own"
        )
    return given


def _reorder(
    module: ForeignModule, head: Head, task: Task, labels: Sequence[str], encoder: EncoderFiles
) -> tuple[Task, Tensors]:
    """The task with its labels, and the head with its outputs in the order of the task's labels."""
    if head.kind != task.kind:
        raise XittError(
            f"{module.folder}: its head is of kind {head.kind}, {task.name} is of kind {task.kind}"
        )
    if head.kind == "mlm":
        _check_tied(module, head, encoder)
    if head.kind in foreign.OUTPUTS:
        return task, head.tensors
    given = _distinct_labels(module, head, labels)
    if not task.labels:  # only its data knows them
        return replace(task, labels=given), head.tensors
    more = [label for label in given if label not in task.labels]
    if set(task.labels) - set(given) or (more and task.kind != "tagging"):
        raise XittError(
            f"{module.folder}: its labels are {printable(' '.join(given))}, those of {task.name}"
            f" are {' '.join(task.labels)}; --labels names the head's outputs, in their order, in"
            " the words of the task; without --task it is kept with labels of its own"
        )
    if more:  # a word gets the likeliest of the task's tags
        notify(
            f"its outputs {printable(' '.join(more))} are left out: {task.name} has no such label"
        )
    order = [given.index(label) for label in task.labels]
    return task, {
        name: tensor[order] if name.startswith("out.") else tensor
        for name, tensor in head.tensors.items()
    }


def _check_tied(module: ForeignModule, head: Head, encoder: EncoderFiles) -> None:
    """A masked-language-model head stands on the encoder's own decoder here; another's would
    compute otherwise."""
    import torch

    lm_head = pretrained.read_lm_head(encoder)
    table = lm_head.get("decoder.weight")
    if table is None:
        weights = pretrained.read_weights(encoder.folder)
        tables = (each for name, each in weights if name.endswith("word_embeddings.weight"))
        table = next(tables)
    wanted = {
        "decoder.weight": table.float(),
        "decoder.bias": lm_head.get("bias", torch.zeros(len(table))),
    }
    for name, tensor in head.tied.items():
        if tensor.shape != wanted[name].shape or not torch.equal(tensor, wanted[name]):
            raise XittError(
                f"{module.folder}: {name} of its masked-language-model head is not the encoder's"
                " own, on which such heads stand here; --without-head takes in the rest"
            )
