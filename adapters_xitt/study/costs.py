"""What a job costs: parameters, optimiser steps, tokens read, bytes in memory."""

from __future__ import annotations

from functools import singledispatch

from adapters_xitt.kinds import KINDS
from adapters_xitt.modules.composition import Merge
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.study.jobs import MergedModule, ModuleJob, ScoreJob, TrainedModule

SEARCHED = tuple(n / 10 for n in range(11))  # weights that a search tries for each part


def module_parameters(job: ModuleJob, inputs: Inputs) -> int:
    """Parameters of a job's module, its heads' included."""
    files = inputs.files
    spaces = {(part.record.kind, len(part.record.labels)) for part in job.mixture.portions}
    heads = sum(KINDS[kind].size(files.width, labels) for kind, labels in spaces)
    return job.method.parameters(files.width, files.wide, files.layers, files.parameters) + heads


def held_bytes(job: ModuleJob, inputs: Inputs) -> int:
    """Bytes of a job's module in the encoder, its heads too: fp32."""
    return 4 * module_parameters(job, inputs)


def trained_bytes(job: ModuleJob, inputs: Inputs) -> int:
    """Bytes of a job's module while it trains: itself and its two moments."""
    return 12 * module_parameters(job, inputs)


def steps(job: ModuleJob, inputs: Inputs) -> int:
    """Optimiser steps of a job."""
    return inputs.steps(job.mixture, job.settings) if isinstance(job, TrainedModule) else 0


@singledispatch
def train_tokens(job: ModuleJob, inputs: Inputs) -> int:
    """Tokens that are read to make a job's module."""
    return 0


@train_tokens.register
def _(job: TrainedModule, inputs: Inputs) -> int:
    """Mean tokens of an example × examples, and the validations."""
    total = steps(job, inputs)
    validations = -(-total // job.settings.validate_every(total))
    tokens = 0
    for portion in inputs.data(job.mixture):
        mean = portion.train.lengths.sum() / portion.train.examples
        tokens += int(mean * portion.batch_size * total * portion.share)
        tokens += validations * int(portion.selection.lengths.sum())
    return tokens


@train_tokens.register
def _(job: MergedModule, inputs: Inputs) -> int:
    """A search reads its selection split once for every weight of every part, and again for what
    that changed."""
    if not job.searched:
        return 0
    assert isinstance(job.expression, Merge), "what is searched is a merge"
    _, features = inputs.searched(job.mixture)
    return 2 * len(SEARCHED) * len(job.expression.parts) * int(features.lengths.sum())


def score_tokens(job: ScoreJob, inputs: Inputs) -> int:
    """Tokens that a cell reads."""
    return sum(int(inputs.features(rows).lengths.sum()) for rows in job.tested)
