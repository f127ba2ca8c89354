"""What goes into the keys of modules: everything that decides a number, as it was resolved; nothing
of how a recipe spelled it.

A new option enters only where it differs from its default: the key of a request that could be made
before stays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from adapters_xitt import hashing, tasks
from adapters_xitt.data.mixture import Mixture, Portion
from adapters_xitt.kinds import KINDS
from adapters_xitt.modules import composition, merging
from adapters_xitt.modules.composition import Composition, Merge, Part, Scaled
from adapters_xitt.modules.methods import Choice
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.training.settings import Settings

SHARED = "shared"  # what the first values of every module are drawn for where a recipe shares them


def training_inputs(
    inputs: Inputs,
    mixture: Mixture,
    choice: Choice,
    seed: int,
    *,
    settings: Settings,
    learning_rate: float,
) -> dict[str, Any]:
    """Of a module made by training on `mixed`: its data portion by portion, its schedule, what it
    is drawn from. The random module of a mixture without portions reads nothing and takes no
    steps."""
    files = inputs.files
    key_inputs = {
        "encoder": files.fingerprint,
        "precision": inputs.memory_plan.base,
        "seed": seed,
        "method": choice.record(),
    }
    if not mixture.portions:
        return key_inputs
    sizes = [len(inputs.examples(part, mixture)) for part in mixture.portions]
    shares = mixture.probabilities(sizes)
    portions = [
        {
            **portion_inputs(inputs, part, mixture),
            "share": share,
            "trained": [rows.digest for rows in inputs.train(part, mixture)],
            # A batch can't hold more than there is.
            "batch_size": min(inputs.batch_size(part, mixture), size),
        }
        for part, share, size in zip(mixture.portions, shares, sizes, strict=True)
    ]
    if depth := inputs.recipe.kept_depth(files.layers):
        key_inputs["trunk"] = depth
    return key_inputs | {
        "portions": portions,
        "learning_rate": learning_rate,
        "settings": settings.resolved(inputs.steps(mixture, settings)),
        "dropout": files.dropout(settings.dropout),
    }


def portion_inputs(inputs: Inputs, part: Portion, mixture: Mixture) -> dict[str, Any]:
    """Of the selection rows of one portion, and of how its rows are encoded and scored."""
    task = part.record
    key_inputs = {
        "task": task.name,
        "variant": part.variant,
        "languages": part.languages,
        "labels": task.labels,
        "lengths": KINDS[task.kind].caps(inputs.lengths(task.name)),
        "selected": [rows.digest for rows in inputs.selection(part, mixture)],
    }
    if (reading := inputs.reading(task)) != task.reading():
        key_inputs["convention"] = reading.name
    if KINDS[task.kind].masks and inputs.lm_head:
        key_inputs["lm_head"] = inputs.lm_head
    return key_inputs


def merge_inputs(merged: Composition) -> dict[str, Any]:
    """Of what is put together without training: weighted means by the shares of their parts, which
    sum to one."""
    if isinstance(merged, Merge):
        shares = merging.shares(merged.parts)
        parts = [part.part if isinstance(part, Scaled) else part for part in merged.parts]
        merged = Merge(
            merged.how,
            tuple(Scaled(part, share) for part, share in zip(parts, shares, strict=True)),
            merged.options,
        )
    return {"merged": composition.show(merged)}


def start_inputs(
    choice: Choice, start: str | None, drawn: str, *, carry_pooler: bool
) -> dict[str, Any]:
    """Of what a module starts from: the key of the module that it continues, or what its first
    values are drawn for."""
    if start:
        return {"start": start, **({"carry_pooler": True} if carry_pooler else {})}
    return {"drawn": drawn} if choice.spec.drawn else {}


def base_inputs(below: Sequence[str], base: Composition | None, mode: str) -> dict[str, Any]:
    """Of the frozen modules that a module trains above, beside or over."""
    if not below:
        return {}
    # A base is more than its names: weights, blocks and their order.
    whole = {"base": composition.show(base)} if base is not None and base != Part(below[0]) else {}
    return {"below": list(below), "mode": mode, **whole}


def pooled(spaces: Sequence[str]) -> bool:
    """Whether a head of one of these label spaces has a pooler."""
    poolers = "|".join(name for name, kind in tasks.KINDS.items() if kind.pooler)
    return any(re.fullmatch(rf"({poolers})(\d+_\w+)?", space) for space in spaces)


def init_fingerprint(encoder: str, choice: Choice, seed: int, drawn: str) -> str:
    """The digest of a fresh module's first values: what they are drawn from."""
    return hashing.digest([encoder, choice.record(), seed, drawn])
