"""The training loop: a cohort of modules over one stream of batches, each with its own head and optimiser.

Everything random is drawn anew from (seed, task, step, micro-batch), so that grouping, stopping and resuming keep the
bits. A cohort of one is ordinary training."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from adapters_xitt import evaluate
from adapters_xitt.batches import Units, collate, epoch_batches, micro_batches, steps_per_epoch
from adapters_xitt.evaluate import Scored
from adapters_xitt.heads import HEADS
from adapters_xitt.lower import Lowered, Rig
from adapters_xitt.tasks import Task


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a task is trained; the same for every row of a cohort."""

    batch_size: int = 32  # examples per optimiser step, however many micro-batches carry them
    epochs: float = 3
    max_steps: int | None = None
    warmup: float = 0.1  # share of the steps, linear; then linear decay to zero
    weight_decay: float = 0.01  # not on biases and one-dimensional tensors
    clip: float = 1.0  # gradient norm
    tokens: int = 4096  # tokens a micro-batch may hold, padding included
    evaluate_every: int | None = None  # steps between looks at the selection split; None: ten looks in all
    patience: int | None = None  # looks without a better score before a row stops; None: never
    dropout: float | None = None  # of the encoder's own layers; None: as its configuration says

    def steps(self, examples: int) -> int:
        """Optimiser steps in all."""
        steps = math.ceil(steps_per_epoch(examples, self.batch_size) * self.epochs)
        return max(1, min(steps, self.max_steps or steps))

    def look_every(self, steps: int) -> int:
        """Steps from one look at the selection split to the next."""
        return self.evaluate_every or math.ceil(steps / 10)

    def record(self) -> dict[str, Any]:
        """What decides the numbers, for keys; a micro-batch's size does within rounding, so it does too."""
        return asdict(self)


@dataclass(frozen=True)
class Data:
    """What a cohort reads: encoded training and selection rows of one task."""

    task: Task
    train: Units
    selection: Units
    selection_rows: Sequence[dict] = field(repr=False)


@dataclass
class Row:
    """One module in training."""

    key: str
    title: str
    lowered: Lowered
    module: dict[str, nn.Parameter]  # what is trained in the encoder
    head: nn.Module
    learning_rate: float
    optimizer: Any = None
    step: int = 0  # steps taken
    best: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=lambda: {"best_score": None, "best_step": 0, "worse": 0,
                                                           "stopped": False, "loss": None, "history": []})

    def named(self) -> dict[str, nn.Parameter]:
        """Everything that is trained: `encoder.` and `head.` names."""
        return {**{f"encoder.{name}": value for name, value in self.module.items()},
                **{f"head.{name}": value for name, value in self.head.named_parameters()}}


@dataclass(frozen=True)
class Trained:
    """What training gave: the tensors at the best look, and how it went; `failed` says why there are none to use."""

    tensors: dict[str, Tensor]
    metrics: dict[str, Any]
    failed: str | None = None


class Keeper(Protocol):
    """Where half-trained rows are kept."""

    def load(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None: ...

    def save(self, key: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None: ...


class Watch(Protocol):
    """Who is told how it goes."""

    def step(self, key: str, *, step: int, loss: float, tokens: int) -> None: ...

    def look(self, key: str, *, step: int, scores: dict[str, float]) -> None: ...

    def tick(self, tokens: int) -> None: ...


def derive(seed: int, *what: Any) -> int:
    """A 63-bit seed for one purpose, from the recipe's seed."""
    return int.from_bytes(hashlib.sha256(repr((seed, *what)).encode()).digest()[:8], "big") >> 1


def train(rows: Sequence[Row], data: Data, settings: Settings, *, rig: Rig, fabric: Fabric, seed: int, keeper: Keeper,
          watch: Watch, keep_every: float = 60.0) -> list[Trained]:
    """Trains `rows` to the end, resuming those that `keeper` has half done; `keep_every` is in seconds."""
    total = settings.steps(data.train.examples)
    every = settings.look_every(total)
    for row in rows:
        _prepare(row, settings, fabric)
        _resume(row, keeper)
    stream = _Stream(data, settings, seed)
    kept, pause = time.monotonic(), keep_every
    for step in range(min(row.step for row in rows), total):
        going = [row for row in rows if row.step <= step and not row.state["stopped"]]
        if not going:
            if all(row.state["stopped"] for row in rows):
                break
            continue
        with rig.training(settings.dropout):
            _step(going, step, total, stream, settings, rig, fabric, seed)
        going = [row for row in going if "failed" not in row.state]
        for row in going:
            watch.step(row.key, step=step + 1, loss=row.state["loss"], tokens=stream.tokens)
        looked = (step + 1) % every == 0 or step + 1 == total
        if looked:
            _look(going, step + 1, data, settings, rig, fabric, watch)
        if looked or time.monotonic() - kept > pause:
            began = time.monotonic()
            for row in going:
                _keep(row, keeper)
            kept = time.monotonic()
            # Large states are kept less often: no more than a twentieth of the time goes into keeping.
            pause = max(keep_every, 20 * (kept - began))
    return [_finish(row, total) for row in rows]


class _Stream:
    """The examples of every step, from (seed, epoch) alone."""

    def __init__(self, data: Data, settings: Settings, seed: int) -> None:
        self.data, self.size, self.budget, self.seed = data, settings.batch_size, settings.tokens, seed
        self.units = data.train.of_examples()
        self.unit_lengths, self.bundles = data.train.lengths, data.train.bundles()
        self.lengths = np.array([self.unit_lengths[units].sum() for units in self.units])
        self.per_epoch = steps_per_epoch(data.train.examples, settings.batch_size)
        self.epoch, self.batches, self.tokens = -1, [], 0

    def micro(self, step: int, pad: int) -> tuple[list[dict[str, np.ndarray]], int]:
        """The micro-batches of a step and the weight of the whole: the loss's denominator."""
        epoch = step // self.per_epoch
        if epoch != self.epoch:
            self.batches = epoch_batches(self.lengths, self.size, seed=derive(self.seed, "order"), epoch=epoch)
            self.epoch = epoch
        units = [unit for example in self.batches[step % self.per_epoch] for unit in self.units[example]]
        drawn = derive(self.seed, "mask", self.data.task.name, step)
        arrays = [collate(self.data.train, chosen, pad=pad, seed=drawn)
                  for chosen in micro_batches(self.unit_lengths, units, self.budget, bundles=self.bundles)]
        self.tokens = int(sum(batch["mask"].sum() for batch in arrays))
        return arrays, int(sum(batch["weight"].sum() for batch in arrays))


def _step(rows: Sequence[Row], step: int, total: int, stream: _Stream, settings: Settings, rig: Rig, fabric: Fabric,
          seed: int) -> None:
    """One optimiser step of every row; the trunk runs once for all where no dropout acts in it."""
    arrays, weight = stream.micro(step, rig.encoder.files.config["pad_token_id"])
    batches = [{name: torch.from_numpy(value).to(rig.encoder.device) for name, value in batch.items()}
               for batch in arrays]
    depth = _shared_depth(rows, settings, rig)
    trunks = [_trunk(batch, depth, rig, fabric) for batch in batches] if depth is not None else [None] * len(batches)
    for row in rows:
        rig.activate(row.lowered)
        row.head.train()
        row.optimizer.param_groups[0]["lr"] = row.optimizer.param_groups[1]["lr"] = (
            row.learning_rate * _schedule(step, total, settings.warmup))
        summed = 0.0
        for at, (batch, trunk) in enumerate(zip(batches, trunks, strict=True)):
            torch.manual_seed(derive(seed, stream.data.task.name, step, at))
            loss = _loss(row, batch, trunk, depth, stream.data.task.kind, rig, fabric) / max(weight, 1)
            fabric.backward(loss)
            summed += float(loss.detach())
        if not math.isfinite(summed):
            row.state.update(stopped=True, failed=f"the loss is {summed} at step {step + 1}; try a lower learning "
                             f"rate (now {row.learning_rate:g}) or precision 32")
            row.optimizer.zero_grad(set_to_none=True)
            continue
        torch.nn.utils.clip_grad_norm_(list(row.named().values()), settings.clip)
        row.optimizer.step()
        row.optimizer.zero_grad(set_to_none=True)
        row.step, row.state["loss"] = step + 1, summed


def _shared_depth(rows: Sequence[Row], settings: Settings, rig: Rig) -> int | None:
    """How many layers the rows share; None where each runs its own: dropout in the trunk, or `full`."""
    config = rig.encoder.files.config
    rates = [config.get("hidden_dropout_prob", 0.1), config.get("attention_probs_dropout_prob", 0.1)]
    active = any(rates) if settings.dropout is None else settings.dropout > 0
    if active or any(row.lowered.full for row in rows):
        return None
    return min(row.lowered.depth for row in rows)


@torch.no_grad()
def _trunk(batch: dict[str, Tensor], depth: int, rig: Rig, fabric: Fabric) -> Tensor:
    rig.activate(Lowered((), (), None, depth))
    with fabric.autocast():
        return rig.encoder.run(rig.encoder.embed(batch["ids"]), batch["mask"], 0, depth)


def _loss(row: Row, batch: dict[str, Tensor], trunk: Tensor | None, depth: int | None, kind: str, rig: Rig,
          fabric: Fabric) -> Tensor:
    encoder = rig.encoder_of(row.lowered)
    with fabric.autocast():
        if trunk is None:
            hidden = encoder.run(encoder.embed(batch["ids"]), batch["mask"], 0, encoder.layers)
        else:
            hidden = encoder.run(trunk, batch["mask"], depth, encoder.layers)
        logits = row.head(hidden, batch)
    return HEADS[kind].loss(logits, batch)


def _schedule(step: int, total: int, warmup: float) -> float:
    """Share of the learning rate at a step, 0 the first: up over the warm-up, down to zero at the end."""
    rise = math.ceil(total * warmup)
    return (step + 1) / rise if step < rise else (total - step) / max(1, total - rise)


def _prepare(row: Row, settings: Settings, fabric: Fabric) -> None:
    """Gradients on for exactly what the row trains, and its optimiser."""
    decay, plain = [], []
    for parameter in row.named().values():
        parameter.requires_grad_(True)
        (decay if parameter.ndim > 1 else plain).append(parameter)
    groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
    row.optimizer = fabric.setup_optimizers(torch.optim.AdamW(groups, lr=row.learning_rate, eps=1e-8))


def _look(rows: Sequence[Row], step: int, data: Data, settings: Settings, rig: Rig, fabric: Fabric,
          watch: Watch) -> None:
    """Scores the selection split; keeps the tensors where the score is the best so far."""
    said = evaluate.say(rig, [Scored(row.lowered, row.head) for row in rows], data.selection, data.task.kind,
                        fabric=fabric, tokens=settings.tokens, stop=rig.encoder.layers, tick=watch.tick)
    for row, spoken in zip(rows, said, strict=True):
        scores = evaluate.decode(data.task, data.selection_rows, data.selection, spoken).scores
        score, state = scores[data.task.headline], row.state
        state["history"].append({"step": step, "loss": state["loss"], **scores})
        watch.look(row.key, step=step, scores={"loss": state["loss"], **scores})
        if state["best_score"] is None or score > state["best_score"]:
            state.update(best_score=score, best_step=step, worse=0)
            row.best = {name: value.detach().cpu().clone() for name, value in row.named().items()}
        else:
            state["worse"] += 1
            state["stopped"] = settings.patience is not None and state["worse"] >= settings.patience


def _keep(row: Row, keeper: Keeper) -> None:
    """Everything a resumed run needs to go on as if nothing had happened."""
    named = row.named()
    tensors = {f"now.{name}": value.detach() for name, value in named.items()}
    tensors |= {f"best.{name}": value for name, value in row.best.items()}
    for name, parameter in named.items():
        moments = row.optimizer.optimizer.state[parameter]
        for moment in ("exp_avg", "exp_avg_sq", "step"):
            tensors[f"{moment}.{name}"] = moments[moment]
    keeper.save(row.key, tensors, {"step": row.step, **row.state})


def _resume(row: Row, keeper: Keeper) -> None:
    kept = keeper.load(row.key)
    if kept is None:
        return
    tensors, state = kept
    row.step = state.pop("step")
    row.state = state
    row.best = {name.removeprefix("best."): value for name, value in tensors.items() if name.startswith("best.")}
    for name, parameter in row.named().items():
        parameter.data.copy_(tensors[f"now.{name}"])
        row.optimizer.optimizer.state[parameter] = {
            moment: tensors[f"{moment}.{name}"].to("cpu" if moment == "step" else parameter.device)
            for moment in ("exp_avg", "exp_avg_sq", "step")}


def _finish(row: Row, total: int) -> Trained:
    """The best tensors, gradients off again."""
    for parameter in row.named().values():
        parameter.requires_grad_(False)
        parameter.grad = None
    state = row.state
    return Trained(row.best, {"score": state["best_score"], "step": state["best_step"], "steps": row.step,
                              "planned_steps": total, "history": state["history"]}, state.get("failed"))
