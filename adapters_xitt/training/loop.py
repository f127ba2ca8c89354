"""The training loop: a cohort of modules over one stream of batches, each with its own head and
optimiser.

Everything random is drawn anew from (seed, task, step, micro-batch), so that grouping, stopping and
resuming keep the bits. A cohort of one is ordinary training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, default_convert

from adapters_xitt import stopping
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.setup import AdapterSetup
from adapters_xitt.training import memory
from adapters_xitt.training.checkpoint import Checkpoints, restore
from adapters_xitt.training.module import ModuleInTraining, TrainingResult
from adapters_xitt.training.run import TrainingRun
from adapters_xitt.training.sampler import Batch, Data, StepBatches, derive
from adapters_xitt.training.validation import validate


def train(
    modules: Sequence[ModuleInTraining], data: Sequence[Data], run: TrainingRun
) -> list[TrainingResult]:
    """Trains modules side by side, one portion of `data` a step; resumes those that have a
    checkpoint."""
    for module in modules:
        if run.trunk and module.setup.depth < run.trunk.depth:
            raise XittError(
                f"trunk: kept: {module.title} has parts in layer {module.setup.depth}, below the"
                f" kept depth {run.trunk.depth}; leave trunk out"
            )
    batches = StepBatches(
        data,
        tokens=run.settings.tokens,
        seed=run.seed,
        steps=run.steps,
        pad=run.adapted.encoder.files.config["pad_token_id"],
    )
    for module in modules:
        module.set_up(run.settings, run.fabric)
        restore(module, run.checkpointer)
    steps = range(_first_step(modules, run.steps), run.steps)
    loader = run.fabric.setup_dataloaders(DataLoader(batches, batch_size=None, sampler=steps))
    checkpoints = Checkpoints(run.checkpointer, run.checkpoint_every)
    validate_every = run.settings.validate_every(run.steps)

    with run.adapted.training(run.settings.dropout):
        for step, batch in zip(steps, loader, strict=True):
            stopping.check()
            if all(module.progress.stopped for module in modules):
                break
            active = _active(modules, step)
            if not active:
                continue
            active = _step_in_memory(active, batch, step, batches, run)
            for module in active:
                run.callback.on_step(
                    module.key, step=module.step, loss=module.progress.loss, tokens=batch.tokens
                )
            validated = (step + 1) % validate_every == 0 or step + 1 == run.steps
            if validated:
                with run.adapted.evaluating():
                    validate(active, step + 1, data, run)
            if validated or checkpoints.due:
                checkpoints.save(active)
    return [module.result(run.steps) for module in modules]


def _first_step(modules: Sequence[ModuleInTraining], steps: int) -> int:
    """The first step that a module has still to take."""
    going = [module.step for module in modules if not module.progress.stopped]
    return min(going, default=steps)


def _active(modules: Sequence[ModuleInTraining], step: int) -> list[ModuleInTraining]:
    """The modules that have still to take a step."""
    return [module for module in modules if module.step <= step and not module.progress.stopped]


def _step_in_memory(
    modules: Sequence[ModuleInTraining],
    batch: Batch,
    step: int,
    batches: StepBatches,
    run: TrainingRun,
) -> list[ModuleInTraining]:
    """One step of every module; those whose loss was a number. Where memory runs out, again in
    micro-batches of half the size: the same effective batch, summed in another order; modules that
    had taken the step already don't take it twice."""
    while True:
        left = _active(modules, step)
        try:
            _train_step(left, batch, step, batches, run)
            return [module for module in modules if not module.failed]
        except (RuntimeError, MemoryError) as error:
            if not memory.out_of_memory(error):
                raise
        # Here the error is gone, and with it what its traceback held.
        for module in left:
            module.drop_gradients()
        if run.adapted.encoder.device.type == "cuda":
            torch.cuda.empty_cache()
        batches.halve()
        batch = run.fabric.to_device(default_convert(batches[step]))
        run.callback.on_message(
            f"out of memory at step {step + 1}: going on with micro-batches of {batches.tokens}"
            " tokens"
        )


def _train_step(
    modules: Sequence[ModuleInTraining],
    batch: Batch,
    step: int,
    batches: StepBatches,
    run: TrainingRun,
) -> None:
    """One optimiser step of every module; the trunk runs once for all where no dropout acts in
    it."""
    data = batches.portions[batch.portion].data
    trunks = [_trunk(micro_batch, data, modules, run) for micro_batch in batch.micro_batches]
    rate_share = run.settings.rate_share(step, run.steps)
    for module in modules:
        module.heads[data.space].train()
        total = 0.0
        for index, micro_batch in enumerate(batch.micro_batches):
            # for every micro-batch: learned weights are part of its graph
            run.adapted.activate(module.setup)
            torch.manual_seed(derive(run.seed, data.task.name, step, index))
            loss = _loss(module, micro_batch, trunks[index], data, run) / max(batch.weight, 1)
            module.backward(loss, run.fabric)
            total += float(loss.detach())
        penalty = run.adapted.penalty(module.setup)
        if penalty is not None:
            module.backward(penalty, run.fabric)
        if math.isfinite(total):
            module.take_step(rate_share, run.settings.clip)
            module.step, module.progress.loss = step + 1, total
        else:
            module.fail(
                f"the loss is {total} at step {step + 1}; try a lower learning "
                f"rate (now {module.learning_rate:g}) or precision 32"
            )


@dataclass(frozen=True)
class Trunk:
    """What the modules of a cohort share of a micro-batch."""

    hidden: Tensor  # [features, length, width]
    depth: int  # layers that made it


def _shared_depth(
    modules: Sequence[ModuleInTraining], adapted: AdaptedEncoder, dropout: float | None
) -> int | None:
    """How many layers the modules share; None where each runs its own: dropout in the trunk, or
    `full`."""
    if any(adapted.encoder.files.dropout(dropout)) or any(module.setup.full for module in modules):
        return None
    return min(module.setup.depth for module in modules)


@torch.no_grad()
def _trunk(
    batch: dict[str, Tensor], data: Data, modules: Sequence[ModuleInTraining], run: TrainingRun
) -> Trunk | None:
    """The layers below all modules, once for the cohort, or for the whole run where they are
    kept; tokens that are masked are others in every step."""
    if run.trunk and data.train.vocabulary is None:
        chosen, length = batch["feature"].tolist(), batch["ids"].shape[1]
        return Trunk(run.trunk.hidden(data.train, chosen, length), run.trunk.depth)
    depth = _shared_depth(modules, run.adapted, run.settings.dropout)
    if depth is None:
        return None
    run.adapted.activate(AdapterSetup((), (), None, depth))
    encoder = run.adapted.encoder
    with run.fabric.autocast():
        return Trunk(encoder.run(encoder.embed(batch["ids"]), batch["mask"], 0, depth), depth)


def _loss(
    module: ModuleInTraining,
    batch: dict[str, Tensor],
    trunk: Trunk | None,
    data: Data,
    run: TrainingRun,
) -> Tensor:
    """The summed loss of a module over a micro-batch, from the trunk up."""
    encoder = run.adapted.encoder_of(module.setup)
    with run.fabric.autocast():
        if trunk is None:  # what is embedded has no name here: it would live on
            hidden = encoder.run(encoder.embed(batch["ids"]), batch["mask"], 0, encoder.layers)
        else:
            hidden = encoder.run(trunk.hidden, batch["mask"], trunk.depth, encoder.layers)
        logits = module.heads[data.space](hidden, batch)
    return KINDS[data.task.kind].loss(logits, batch)
