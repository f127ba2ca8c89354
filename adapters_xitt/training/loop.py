"""The training loop: a cohort of modules over one stream of batches, each with its own head and
optimiser.

Everything random is drawn anew from (seed, task, step, micro-batch), so that grouping, stopping and
resuming keep the bits. A cohort of one is ordinary training."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from adapters_xitt import stopping
from adapters_xitt.errors import XittError
from adapters_xitt.evaluation import predict
from adapters_xitt.evaluation.predict import Inference, Scored
from adapters_xitt.kinds import KINDS, decoding
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.setup import AdapterSetup
from adapters_xitt.training import memory
from adapters_xitt.training.sampler import Data, Stream, derive

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
    # steps between looks at the selection split; None: ten looks in all
    evaluate_every: int | None = None
    patience: int | None = None  # looks without a better score before a row stops; None: never
    optimizer: str = "32"  # AdamW's moments; 8bit: bitsandbytes'
    # steps on top: the control that trains the target for the intermediate's steps too
    more_steps: int = 0
    dropout: float | None = None  # of the encoder's own layers; None: as its configuration says

    def steps(self, epoch: float) -> int:
        """Optimiser steps in all, from those of one epoch."""
        steps = math.ceil(epoch * self.epochs)
        return max(1, min(steps, self.max_steps or steps)) + self.more_steps

    def look_every(self, steps: int) -> int:
        """Steps from one look at the selection split to the next."""
        return self.evaluate_every or math.ceil(steps / 10)

    def record(self) -> dict[str, Any]:
        """As JSON, for manifests."""
        return asdict(self)

    def resolved(self, total: int) -> dict[str, Any]:
        """What decides the numbers of `total` steps, for keys; dropout and batch sizes are resolved
        elsewhere. A micro-batch's size decides them within rounding, and what dropout draws."""
        every = min(self.look_every(total), total)
        looks = math.ceil(total / every)
        # The first look is always the best so far, and stopping at the last one stops nothing.
        patience = (
            self.patience if self.patience is not None and self.patience <= looks - 2 else None
        )
        # a single step has the whole rate
        warmup = _warmup_steps(total, self.warmup) if total > 1 else 0
        return {
            "steps": total,
            "warmup_steps": warmup,
            "evaluate_every": every,
            "weight_decay": float(self.weight_decay),
            "clip": float(self.clip),
            "tokens": self.tokens,
            **({"patience": patience} if patience is not None else {}),
            **({"optimizer": self.optimizer} if self.optimizer != "32" else {}),
        }


@dataclass
class Row:
    """One module in training."""

    key: str
    title: str
    setup: AdapterSetup
    module: dict[str, nn.Parameter]  # what is trained in the encoder
    heads: dict[str, nn.Module]  # by label space
    learning_rate: float
    optimizer: Any = None
    scaler: Any = None  # of the loss, in fp16; its own for every row, so that rows stay apart
    step: int = 0  # steps taken
    best: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Any] = field(
        default_factory=lambda: {
            "best_score": None,
            "best_step": 0,
            "worse": 0,
            "stopped": False,
            "loss": None,
            "history": [],
        }
    )

    def named(self) -> dict[str, nn.Parameter]:
        """Everything that is trained: `encoder.` and `head.` names."""
        return {
            **{f"encoder.{name}": value for name, value in self.module.items()},
            **{
                f"head.{space}.{name}": value
                for space, head in self.heads.items()
                for name, value in head.named_parameters()
            },
        }


@dataclass(frozen=True)
class Trained:
    """What training gave: the tensors at the best look, and how it went; `failed` says why there
    are none to use."""

    tensors: dict[str, Tensor]
    metrics: dict[str, Any]
    failed: str | None = None


class Checkpointer(Protocol):
    """Where half-trained rows are kept."""

    def load(self, key: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None: ...

    def save(self, key: str, tensors: dict[str, Tensor], state: dict[str, Any]) -> None: ...


class Callback(Protocol):
    """Who is told how it goes."""

    def step(self, key: str, *, step: int, loss: float, tokens: int) -> None: ...

    def look(self, key: str, *, step: int, scores: dict[str, float]) -> None: ...

    def tick(self, tokens: int) -> None: ...

    def say(self, text: str) -> None: ...


def train(
    rows: Sequence[Row],
    data: Sequence[Data],
    settings: Settings,
    *,
    adapted: AdaptedEncoder,
    fabric: Fabric,
    seed: int,
    total: int,
    checkpointer: Checkpointer,
    callback: Callback,
    keep_every: float = 60.0,
) -> list[Trained]:
    """Trains `rows` for `total` steps, one portion of `data` a step; resumes those that `keeper`
    has half done. `keep_every` is in seconds."""
    every = settings.look_every(total)
    for row in rows:
        _prepare(row, settings, fabric)
        _resume(row, checkpointer)
    stream = Stream(data, settings.tokens, seed, total)
    kept, pause = time.monotonic(), keep_every
    for step in range(min(row.step for row in rows), total):
        stopping.check()
        going = [row for row in rows if row.step <= step and not row.state["stopped"]]
        if not going:
            if all(row.state["stopped"] for row in rows):
                break
            continue
        _fitting_step(going, step, total, stream, settings, adapted, fabric, callback)
        going = [row for row in going if "failed" not in row.state]
        for row in going:
            callback.step(row.key, step=step + 1, loss=row.state["loss"], tokens=stream.tokens)
        looked = (step + 1) % every == 0 or step + 1 == total
        if looked:
            _look(going, step + 1, data, settings, adapted, fabric, callback)
        if looked or time.monotonic() - kept > pause:
            began = time.monotonic()
            for row in going:
                _keep(row, checkpointer)
            kept = time.monotonic()
            # Large states are kept less often: no more than a twentieth of the time goes into
            # keeping.
            pause = max(keep_every, 20 * (kept - began))
    return [_finish(row, total) for row in rows]


def _fitting_step(
    rows: Sequence[Row],
    step: int,
    total: int,
    stream: Stream,
    settings: Settings,
    adapted: AdaptedEncoder,
    fabric: Fabric,
    callback: Callback,
) -> None:
    """One step of every row; where memory runs out, again in micro-batches of half the size: the
    same effective batch, summed in another order. Rows that had taken the step already don't take
    it twice."""
    while True:
        left = [row for row in rows if row.step <= step and not row.state["stopped"]]
        try:
            with adapted.training(settings.dropout):
                return _step(left, step, total, stream, settings, adapted, fabric)
        except (RuntimeError, MemoryError) as error:
            if not memory.out_of_memory(error):
                raise
        # Here the error is gone, and with it what its traceback held.
        for row in left:
            row.optimizer.zero_grad(set_to_none=True)
        if adapted.encoder.device.type == "cuda":
            torch.cuda.empty_cache()
        stream.halve()
        callback.say(
            f"out of memory at step {step + 1}: going on with micro-batches of {stream.budget}"
            " tokens"
        )


def _step(
    rows: Sequence[Row],
    step: int,
    total: int,
    stream: Stream,
    settings: Settings,
    adapted: AdaptedEncoder,
    fabric: Fabric,
) -> None:
    """One optimiser step of every row; the trunk runs once for all where no dropout acts in it."""
    data, arrays, weight = stream.step(step, adapted.encoder.files.config["pad_token_id"])
    batches = [
        {name: torch.from_numpy(value).to(adapted.encoder.device) for name, value in batch.items()}
        for batch in arrays
    ]
    depth = _shared_depth(rows, settings, adapted)
    trunks = (
        [_trunk(batch, depth, adapted, fabric) for batch in batches]
        if depth is not None
        else [None] * len(batches)
    )
    for row in rows:
        row.heads[data.space].train()
        for group in row.optimizer.param_groups:
            group["lr"] = row.learning_rate * _schedule(step, total, settings.warmup)
        summed = 0.0
        for at, (batch, trunk) in enumerate(zip(batches, trunks, strict=True)):
            # for every micro-batch: learned weights are part of its graph
            adapted.activate(row.setup)
            torch.manual_seed(derive(stream.seed, data.task.name, step, at))
            loss = _loss(row, batch, trunk, depth, data, adapted, fabric) / max(weight, 1)
            fabric.backward(row.scaler.scale(loss))
            summed += float(loss.detach())
        penalty = adapted.penalty(row.setup)
        if penalty is not None:
            fabric.backward(row.scaler.scale(penalty))
        if not math.isfinite(summed):
            row.state.update(
                stopped=True,
                failed=(
                    f"the loss is {summed} at step {step + 1}; try a lower learning "
                    f"rate (now {row.learning_rate:g}) or precision 32"
                ),
            )
            row.optimizer.zero_grad(set_to_none=True)
            continue
        row.scaler.unscale_(row.optimizer.optimizer)
        torch.nn.utils.clip_grad_norm_(list(row.named().values()), settings.clip)
        # no step where half precision overflowed, but a smaller scale
        row.scaler.step(row.optimizer.optimizer)
        row.scaler.update()
        row.optimizer.zero_grad(set_to_none=True)
        row.step, row.state["loss"] = step + 1, summed


def _shared_depth(rows: Sequence[Row], settings: Settings, adapted: AdaptedEncoder) -> int | None:
    """How many layers the rows share; None where each runs its own: dropout in the trunk, or
    `full`."""
    if any(adapted.encoder.files.dropout(settings.dropout)) or any(row.setup.full for row in rows):
        return None
    return min(row.setup.depth for row in rows)


@torch.no_grad()
def _trunk(batch: dict[str, Tensor], depth: int, adapted: AdaptedEncoder, fabric: Fabric) -> Tensor:
    adapted.activate(AdapterSetup((), (), None, depth))
    with fabric.autocast():
        return adapted.encoder.run(adapted.encoder.embed(batch["ids"]), batch["mask"], 0, depth)


def _loss(
    row: Row,
    batch: dict[str, Tensor],
    trunk: Tensor | None,
    depth: int | None,
    data: Data,
    adapted: AdaptedEncoder,
    fabric: Fabric,
) -> Tensor:
    encoder = adapted.encoder_of(row.setup)
    with fabric.autocast():
        if trunk is None:
            hidden = encoder.run(encoder.embed(batch["ids"]), batch["mask"], 0, encoder.layers)
        else:
            hidden = encoder.run(trunk, batch["mask"], depth, encoder.layers)
        logits = row.heads[data.space](hidden, batch)
    return KINDS[data.task.kind].loss(logits, batch)


def _schedule(step: int, total: int, warmup: float) -> float:
    """Share of the learning rate at a step, 0 the first: up over the warm-up, down to zero at the
    end."""
    rise = _warmup_steps(total, warmup)
    return (step + 1) / rise if step < rise else (total - step) / max(1, total - rise)


def _warmup_steps(total: int, warmup: float) -> int:
    return math.ceil(total * warmup)


def _prepare(row: Row, settings: Settings, fabric: Fabric) -> None:
    """Gradients on for exactly what the row trains, and its optimiser."""
    decay, plain = [], []
    for parameter in row.named().values():
        parameter.requires_grad_(True)
        (decay if parameter.ndim > 1 else plain).append(parameter)
    groups = [
        {"params": decay, "weight_decay": settings.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    row.optimizer = fabric.setup_optimizers(
        _adamw(settings)(groups, lr=row.learning_rate, eps=1e-8)
    )
    half = fabric.strategy.precision.precision == "16-mixed"
    row.scaler = torch.amp.GradScaler(fabric.device.type, enabled=half)


def _adamw(settings: Settings) -> Any:
    if settings.optimizer == "32":
        return torch.optim.AdamW
    if not find_spec("bitsandbytes"):
        raise XittError(
            "optimizer 8bit needs the package bitsandbytes: pip install 'adapters-xitt[quant]'"
        )
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit


def _look(
    rows: Sequence[Row],
    step: int,
    data: Sequence[Data],
    settings: Settings,
    adapted: AdaptedEncoder,
    fabric: Fabric,
    callback: Callback,
) -> None:
    """Scores the selection split of every portion; keeps the tensors where the mean headline is the
    best so far."""
    found: list[dict[str, float]] = [{} for _ in rows]
    headlines: list[list[float]] = [[] for _ in rows]
    for one in data:
        outputs = predict.outputs(
            [Scored(row.setup, row.heads[one.space]) for row in rows],
            one.selection,
            one.task.kind,
            Inference(adapted, fabric, settings.tokens, adapted.encoder.layers, tick=callback.tick),
        )
        for scores, headline, by_feature in zip(found, headlines, outputs, strict=True):
            new = decoding.decode(
                HeadOutputs(one.task, one.language, one.selection_rows, one.selection, by_feature)
            ).scores
            headline.append(new[one.task.headline])
            scores.update(
                new
                if len(data) == 1
                else {f"{one.name}.{name}": value for name, value in new.items()}
            )
    for row, scores, headline in zip(rows, found, headlines, strict=True):
        score, state = sum(headline) / len(headline), row.state
        state["history"].append({"step": step, "loss": state["loss"], **scores})
        callback.look(row.key, step=step, scores={"loss": state["loss"], **scores})
        if state["best_score"] is None or score > state["best_score"]:
            state.update(best_score=score, best_step=step, worse=0)
            row.best = {name: value.detach().cpu().clone() for name, value in row.named().items()}
        else:
            state["worse"] += 1
            state["stopped"] = settings.patience is not None and state["worse"] >= settings.patience


def _keep(row: Row, checkpointer: Checkpointer) -> None:
    """Everything a resumed run needs to go on as if nothing had happened."""
    named = row.named()
    tensors = {f"now.{name}": value.detach() for name, value in named.items()}
    tensors |= {f"best.{name}": value for name, value in row.best.items()}
    for name, parameter in named.items():
        # none for a head whose turn has not come yet
        moments = row.optimizer.optimizer.state.get(parameter, {})
        tensors |= {f"{moment}.{name}": torch.as_tensor(value) for moment, value in moments.items()}
    checkpointer.save(
        row.key, tensors, {"step": row.step, "scaler": row.scaler.state_dict(), **row.state}
    )


def _resume(row: Row, checkpointer: Checkpointer) -> None:
    kept = checkpointer.load(row.key)
    if kept is None:
        return
    tensors, state = kept
    row.step = state.pop("step")
    row.scaler.load_state_dict(state.pop("scaler"))
    row.state = state
    row.best = {
        name.removeprefix("best."): value
        for name, value in tensors.items()
        if name.startswith("best.")
    }
    for name, parameter in row.named().items():
        parameter.data.copy_(tensors[f"now.{name}"])
        moments = {
            moment: tensors[f"{moment}.{name}"]
            for moment in MOMENTS
            if f"{moment}.{name}" in tensors
        }
        if moments:
            moments = {
                moment: value.to("cpu" if moment == "step" else parameter.device)
                for moment, value in moments.items()
            }
            if "state1" in moments:
                moments["step"] = int(moments["step"])  # bitsandbytes counts in plain numbers
            row.optimizer.optimizer.state[parameter] = moments


def _finish(row: Row, total: int) -> Trained:
    """The best tensors, gradients off again."""
    for parameter in row.named().values():
        parameter.requires_grad_(False)
        parameter.grad = None
    state = row.state
    return Trained(
        row.best,
        {
            "score": state["best_score"],
            "step": state["best_step"],
            "steps": row.step,
            "planned_steps": total,
            "history": state["history"],
        },
        state.get("failed"),
    )
