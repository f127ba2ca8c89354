"""What goes into the keys of modules: everything that decides a number, as it was resolved; nothing
of how a recipe spelled it.

A new option enters only where it differs from its default: the key of a request that could be made
before stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adapters_xitt import hashing
from adapters_xitt.data.mixture import Mixture, Portion
from adapters_xitt.kinds.heads import POOLED
from adapters_xitt.modules import composition, merging
from adapters_xitt.modules.composition import Composition, Merge, Part, Scaled
from adapters_xitt.modules.methods import Choice
from adapters_xitt.study.inputs import Material
from adapters_xitt.training.loop import Settings

SHARED = "shared"  # what the first values of every module are drawn for where a recipe shares them
UNDRAWN = ("full", "head", "weights")  # engines whose modules have no values that are drawn


def training_inputs(
    material: Material,
    mixed: Mixture,
    choice: Choice,
    seed: int,
    *,
    settings: Settings,
    learning_rate: float,
) -> dict[str, Any]:
    """Of a module made by training on `mixed`: its data portion by portion, its schedule, what it
    is drawn from. The random module of a mixture without portions reads nothing and takes no
    steps."""
    files = material.files
    inputs = {
        "encoder": files.fingerprint,
        "precision": material.means.base,
        "seed": seed,
        "method": choice.record(),
    }
    if not mixed.portions:
        return inputs
    sizes = [len(material.examples(part, mixed)) for part in mixed.portions]
    shares = mixed.probabilities(sizes)
    portions = [
        {
            **portion_inputs(material, part, mixed),
            "share": share,
            "trained": [rows.digest for rows in material.train(part, mixed)],
            # A batch can't hold more than there is.
            "batch_size": min(material.batch_size(part, mixed), size),
        }
        for part, share, size in zip(mixed.portions, shares, sizes, strict=True)
    ]
    return inputs | {
        "portions": portions,
        "learning_rate": learning_rate,
        "settings": settings.resolved(material.steps(mixed, settings)),
        "dropout": files.dropout(settings.dropout),
    }


def portion_inputs(material: Material, part: Portion, mixed: Mixture) -> dict[str, Any]:
    """Of the selection rows of one portion, and of how its rows are encoded and scored."""
    task = part.record
    inputs = {
        "task": task.name,
        "variant": part.variant,
        "languages": part.languages,
        "labels": task.labels,
        "lengths": material.lengths(task.name).of_kind(task.kind),
        "selected": [rows.digest for rows in material.selection(part, mixed)],
    }
    if (reading := material.reading(task)) != task.reading():
        inputs["convention"] = reading.name
    if task.kind == "mlm" and material.lm_head:
        inputs["lm_head"] = material.lm_head
    return inputs


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
    return {} if choice.row.engine in UNDRAWN else {"drawn": drawn}


def base_inputs(below: Sequence[str], base: Composition | None, mode: str) -> dict[str, Any]:
    """Of the frozen modules that a module trains above, beside or over."""
    if not below:
        return {}
    # A base is more than its names: weights, blocks and their order.
    whole = {"base": composition.show(base)} if base is not None and base != Part(below[0]) else {}
    return {"below": list(below), "mode": mode, **whole}


def pooled(spaces: Sequence[str]) -> bool:
    """Whether a head of one of these label spaces has a pooler."""
    return any(name.startswith(POOLED) for name in spaces)


def born(encoder: str, choice: Choice, seed: int, drawn: str) -> str:
    """The digest of a fresh module's first values: what they are drawn from."""
    return hashing.digest([encoder, choice.record(), seed, drawn])
