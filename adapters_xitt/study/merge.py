"""Modules put together from stored ones: the weights that a search finds, the tensors, and the
heads they keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric

from adapters_xitt.data.features import Features
from adapters_xitt.evaluation import predict
from adapters_xitt.evaluation.predict import Scored
from adapters_xitt.kinds import decode, heads
from adapters_xitt.kinds.decode import Said
from adapters_xitt.model.session import ModelSession
from adapters_xitt.modules import composition, merging, methods
from adapters_xitt.modules.composition import Composition, Merge, Scaled
from adapters_xitt.modules.manifest import Module
from adapters_xitt.study.jobs import SEARCHED, TrainJob

ROUNDS = 3  # of a search, over all weights


@dataclass(frozen=True)
class Joined:
    """A module put together: tensors, its heads as a manifest tells them, and what it is made
    of."""

    tensors: dict[str, torch.Tensor]
    heads: dict[str, dict[str, Any]]
    record: dict[str, Any]


def join(
    job: TrainJob,
    modules: Mapping[str, Module],
    written: Composition,
    *,
    meant: Composition,
    layers: int,
    width: int,
) -> Joined:
    """Puts a job's module together; `written` is its expression over keys, with the weights that a
    search found, `meant` the same over the modules that its parts were merged from."""
    chosen = {key: methods.recorded(module.manifest.method) for key, module in modules.items()}
    made = merging.make(
        written,
        {key: (module.part("encoder"), chosen[key]) for key, module in modules.items()},
        layers,
        width,
        meant=meant,
    )
    tensors = {f"encoder.{name}": value for name, value in made.tensors.items()}
    heads = {}
    for space in job.spaces:
        owners = [key for key in composition.heads(written) if space in modules[key].manifest.heads]
        heads[space] = modules[owners[0]].manifest.heads[space]
        weights = _alike(written, owners, modules)
        own = [modules[key].part(f"head.{space}") for key in weights]
        tensors |= {
            f"head.{space}.{name}": sum(
                weight * one[name] for weight, one in zip(weights.values(), own, strict=True)
            )
            for name in own[0]
        }
    return Joined(
        tensors,
        heads,
        {
            "expression": job.title,
            "of": composition.show(meant),
            "errors": made.errors,
            **({"lost": made.lost} if made.lost else {}),
        },
    )


def _alike(
    written: Composition, owners: list[str], modules: Mapping[str, Module]
) -> dict[str, float]:
    """The heads that make one: all of a mean's, weighted as it is, where they started alike; else
    the last part's."""
    each = [composition.names(part) for part in getattr(written, "parts", ())]
    if (
        isinstance(written, Merge)
        and written.how == "mean"
        and sorted(owners) == sorted(name for names in each for name in names)
        and all(len(names) == 1 for names in each)
    ):
        manifests = [modules[key].manifest for key in owners]
        fresh = not any(
            one.source or one.merge or one.training.get("carry_pooler") for one in manifests
        )
        if fresh and len({one.seed for one in manifests}) == 1:
            own = {
                composition.names(part)[0]: part.weight if isinstance(part, Scaled) else 1.0
                for part in written.parts
            }
            return {key: own[key] / sum(own.values()) for key in owners}
    return {owners[0]: 1.0}


def search(
    job: TrainJob,
    modules: Mapping[str, Module],
    rows: list[dict[str, Any]],
    features: Features,
    *,
    session: ModelSession,
    fabric: Fabric,
    tokens: int,
    tick: Callable[[int], None],
) -> tuple[Composition, dict[str, Any]]:
    """The weighted sum of a job's parts that scores best on the selection split of its target, one
    weight changed at a time, from the last part alone; and the score of every sum that was tried.
    `rows` and `units`: that split, as it is on file and encoded."""
    parts = [part.part if isinstance(part, Scaled) else part for part in job.merged.parts]
    for module in modules.values():
        session.put(module, methods.recorded(module.manifest.method))
    (portion,) = job.mixture.portions
    head = heads.trained(
        portion.record, [modules[key] for key in composition.heads(job.merged)], session
    )
    scores: dict[tuple[float, ...], float] = {}

    def score(tried: list[tuple[float, ...]]) -> None:
        new = [weights for weights in dict.fromkeys(tried) if weights not in scores]
        sums = [Scored(session.setup(weighted(parts, weights)), head) for weights in new]
        said = (
            predict.say(
                session.adapted,
                sums,
                features,
                portion.record.kind,
                fabric=fabric,
                tokens=tokens,
                stop=session.adapted.encoder.layers,
                tick=tick,
            )
            if sums
            else []
        )
        for weights, spoken in zip(new, said, strict=True):
            found = decode.decode(
                Said(portion.record, portion.languages[0], rows, features, spoken)
            ).scores
            scores[weights] = found[portion.record.headline]

    best = (*[0.0] * (len(parts) - 1), 1.0)
    for _ in range(ROUNDS):
        before = best
        for at in range(len(parts)):
            tried = [best, *((*best[:at], weight, *best[at + 1 :]) for weight in SEARCHED)]
            score(tried)
            # the first of equals: no change without a gain
            best = max(tried, key=lambda weights: scores[weights])
        if best == before:
            break
    return weighted(parts, best), {
        "score": scores[best],
        "steps": 0,
        "weights": list(best),
        "tried": {
            " ".join(f"{weight:g}" for weight in weights): value
            for weights, value in scores.items()
        },
    }


def weighted(parts: list[Composition], weights: tuple[float, ...]) -> Composition:
    """Σ wᵢ·partᵢ, none left out."""
    terms = [composition.scaled(part, weight) for part, weight in zip(parts, weights, strict=True)]
    return composition.chained(composition.Sum, terms)
