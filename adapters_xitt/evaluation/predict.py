"""A cohort of compositions scored on the same units: batch by batch over a shared trunk, then
decoded and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters_xitt import stopping
from adapters_xitt.data.features import Features, collate, micro_batches
from adapters_xitt.kinds.heads import HEADS
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.setup import AdapterSetup
from adapters_xitt.model.split_batches import activate_rows
from adapters_xitt.tasks import Task


class Attention:
    """What a fusion gives each of its parts: the mean over tokens of every layer, bottleneck by
    bottleneck."""

    def __init__(self) -> None:
        self.total: dict[int, list[NDArray]] = {}
        self.tokens = 0

    def add(self, found: Mapping[int, Sequence[Any]], mask: NDArray) -> None:
        """Adds a batch: layer → arrays [units, tokens, parts], one for each bottleneck of the
        layer."""
        self.tokens += int(mask.sum())
        for layer, arrays in found.items():
            sums = [
                np.einsum("utp,ut->p", np.asarray(one, dtype=np.float64), mask) for one in arrays
            ]
            self.total[layer] = [
                a + b for a, b in zip(self.total.get(layer, [0.0] * len(sums)), sums, strict=True)
            ]

    def mean(self) -> list[list[float]]:
        """[bottlenecks from the lowest layer up, parts]; each sums to one."""
        return [
            (total / self.tokens).tolist()
            for layer in sorted(self.total)
            for total in self.total[layer]
        ]


@dataclass(frozen=True)
class Scored:
    """One composition of a cohort and the head above it; `attention` collects what a fusion attends
    to."""

    setup: AdapterSetup
    head: nn.Module
    attention: Attention | None = None


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
    reading = task.reading(name)
    how = {
        "retrieval": "cosine",
        "ranking": "cosine",
        "mining": "ratio to 4 neighbours, threshold of dev",
    }
    if task.kind in how:
        pooled = "first token" if reading.pooling == "first" else "mean over tokens"
        return (
            f"{pooled} at layer {layer_of(task, layers, name=name, layer=layer)} of {layers},"
            f" {how[task.kind]}" + (", sentence and paragraph" if reading.context else "")
        )
    by_metric = {
        "mlqa": "MLQA's own normalisation, spans on characters",
        "tag_accuracy": "first sub-token",
        "squad2": "SQuAD v2.0, null at threshold 0, spans on characters",
    }
    scored = by_metric.get(task.metric) or {
        "tagging": "first sub-token, spans of equal tags",
        "qa": "SQuAD v1.1 on characters",
        "mlm": "15 % of the tokens, one drawing",
    }.get(task.kind, "plain")
    read = {"tagging": f", {reading.name}", "qa": f", spans {reading.name}"}
    return scored + read.get(task.kind, "")


def trunk_depth(rows: Sequence[Scored], stop: int) -> int:
    """Layers that all compositions share; a fully fine-tuned encoder shares none, its embeddings
    included."""
    return min([stop, *(row.setup.depth for row in rows)])


@torch.no_grad()
def say(
    adapted: AdaptedEncoder,
    rows: Sequence[Scored],
    features: Features,
    kind: str,
    *,
    fabric: Fabric,
    tokens: int,
    stop: int,
    tick: Callable[[int], None] = lambda n: None,
) -> list[list[NDArray]]:
    """What each composition's head says of each unit, [rows][units]; the trunk runs once per batch,
    longest first.

    `stop` is the depth that is read, `tick` is told the tokens of every batch, once for each
    row."""
    found: list[list[Any]] = [[None] * len(features) for _ in rows]
    for row in rows:
        row.head.eval()
    shared = [row for row in rows if not row.setup.full]
    below = trunk_depth(shared, stop)
    for chosen in micro_batches(
        features.lengths, range(len(features)), tokens, bundles=features.bundles()
    ):
        arrays = collate(features, chosen, pad=adapted.encoder.files.config["pad_token_id"])
        batch = {
            name: torch.from_numpy(value).to(adapted.encoder.device)
            for name, value in arrays.items()
        }
        trunk = None
        if shared:
            adapted.activate(AdapterSetup((), (), None, below))
            with fabric.autocast():
                trunk = adapted.encoder.run(
                    adapted.encoder.embed(batch["ids"]), batch["mask"], 0, below
                )
        for at, row in enumerate(rows):
            adapted.activate(row.setup)
            encoder = adapted.encoder_of(row.setup)
            start, depth = (encoder.embed(batch["ids"]), 0) if row.setup.full else (trunk, below)
            with fabric.autocast():
                if row.attention is None:
                    hidden = encoder.run(start, batch["mask"], depth, stop)
                else:
                    with encoder.attending() as attended:
                        hidden = encoder.run(start, batch["mask"], depth, stop)
                    row.attention.add(attended, arrays["mask"])
                said = HEADS[kind].say(row.head(hidden, batch), batch)
            for feature, value in zip(chosen, said, strict=True):
                found[at][feature] = value
            stopping.check()
            tick(int(arrays["mask"].sum()))
    return found


@dataclass(frozen=True)
class Asked:
    """Units of one kind, and the composition and head that answer them."""

    features: Features
    kind: str
    scored: Scored


@torch.no_grad()
def mixed(
    adapted: AdaptedEncoder,
    asked: Sequence[Asked],
    *,
    fabric: Fabric,
    tokens: int,
    stop: int,
    tick: Callable[[int], None] = lambda n: None,
) -> list[list[NDArray]]:
    """What is said of each unit of each of `asked`, in batches that hold units of several, each row
    under its own composition and head. The trunk runs once for a batch; so do the layers above it
    where `Rig.activate_rows` has an exact form for the compositions, and once for each composition
    where it has none."""
    if any(one.scored.setup.full or one.scored.attention for one in asked):
        raise ValueError(
            "a fully fine-tuned encoder shares no batch, and attention is collected by `say`"
        )
    found: list[list[Any]] = [[None] * len(one.features) for one in asked]
    below = trunk_depth([one.scored for one in asked], stop)
    firsts = np.cumsum([0, *(len(one.features) for one in asked)])
    bundles, lengths = [], np.concatenate([one.features.lengths for one in asked])
    for one in asked:
        one.scored.head.eval()
        own = one.features.bundles()
        bundles.append(own + (1 + max((int(part.max()) for part in bundles), default=-1)))
    pad = adapted.encoder.files.config["pad_token_id"]
    for chosen in micro_batches(
        lengths, range(len(lengths)), tokens, bundles=np.concatenate(bundles)
    ):
        groups = {
            at: [
                feature - int(firsts[at])
                for feature in chosen
                if firsts[at] <= feature < firsts[at + 1]
            ]
            for at in range(len(asked))
        }
        groups = {at: features for at, features in groups.items() if features}
        batches = {
            at: {
                name: torch.from_numpy(value).to(adapted.encoder.device)
                for name, value in collate(asked[at].features, features, pad=pad).items()
            }
            for at, features in groups.items()
        }
        ids = nn.utils.rnn.pad_sequence(
            [row for batch in batches.values() for row in batch["ids"]], True, pad
        )
        mask = nn.utils.rnn.pad_sequence(
            [row for batch in batches.values() for row in batch["mask"]], True, 0
        )
        sizes = [len(features) for features in groups.values()]
        for (at, features), hidden in zip(
            groups.items(),
            _upper(
                adapted,
                [asked[at].scored.setup for at in groups],
                sizes,
                ids,
                mask,
                below,
                stop,
                fabric,
            ),
            strict=True,
        ):
            with fabric.autocast():
                own = hidden[:, : batches[at]["ids"].shape[1]]
                said = HEADS[asked[at].kind].say(
                    asked[at].scored.head(own, batches[at]), batches[at]
                )
            for feature, value in zip(features, said, strict=True):
                found[at][feature] = value
        stopping.check()
        tick(int(mask.sum()))
    return found


def _upper(
    adapted: AdaptedEncoder,
    forms: Sequence[AdapterSetup],
    sizes: Sequence[int],
    ids: Tensor,
    mask: Tensor,
    below: int,
    stop: int,
    fabric: Fabric,
) -> list[Tensor]:
    """The hidden states [rows, tokens, width] of each run of rows under its own form."""
    with fabric.autocast():
        adapted.activate(AdapterSetup((), (), None, below))
        trunk = adapted.encoder.run(adapted.encoder.embed(ids), mask, 0, below)
        if activate_rows(adapted, forms, sizes):
            return list(adapted.encoder.run(trunk, mask, below, stop).split(list(sizes)))
        found = []
        for form, rows, seen in zip(
            forms, trunk.split(list(sizes)), mask.split(list(sizes)), strict=True
        ):
            adapted.activate(form)
            found.append(adapted.encoder.run(rows, seen, below, stop))
        return found
