"""Batches that hold features of several compositions, each under its own composition and head: for
few sentences of each of many modules. Nothing but a benchmark calls it yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters_xitt import stopping
from adapters_xitt.data.batching import collate, micro_batches
from adapters_xitt.data.features import Features
from adapters_xitt.evaluation.predict import Inference, Scored, trunk_depth
from adapters_xitt.kinds import KINDS
from adapters_xitt.model.split_batches import activate_rows


@dataclass(frozen=True)
class Query:
    """Features of one kind, and the composition and head that answer them."""

    features: Features
    kind: str
    scored: Scored


@torch.no_grad()
def outputs(queries: Sequence[Query], inference: Inference) -> list[list[NDArray]]:
    """What is output for each feature of each query, in batches that hold features of several. The
    trunk runs once for a batch; so do the layers above it where `activate_rows` has
    an exact form for the compositions, and once for each composition where it has none."""
    if any(query.scored.setup.full or query.scored.attention for query in queries):
        raise ValueError(
            "a fully fine-tuned encoder shares no batch, and attention is collected by"
            " `predict.outputs`"
        )
    for query in queries:
        query.scored.head.eval()
    by_query: list[list[Any]] = [[None] * len(query.features) for query in queries]
    depth = trunk_depth([query.scored for query in queries], inference.stop)
    lengths = np.concatenate([query.features.lengths for query in queries])
    # features are numbered through all queries: the first of each query, and the end
    firsts = np.cumsum([0, *(len(query.features) for query in queries)])
    for chosen in micro_batches(
        lengths, range(len(lengths)), inference.tokens, bundles=_bundles(queries)
    ):
        groups = _by_query(chosen, firsts)
        batches = {
            index: inference.batch(collate(queries[index].features, features, pad=inference.pad))
            for index, features in groups.items()
        }
        mask = _joined([batch["mask"] for batch in batches.values()], 0)
        states = _upper(
            [queries[index].scored for index in groups],
            _joined([batch["ids"] for batch in batches.values()], inference.pad),
            mask,
            [len(features) for features in groups.values()],
            depth,
            inference,
        )
        for (index, features), hidden in zip(groups.items(), states, strict=True):
            batch, head = batches[index], queries[index].scored.head
            with inference.fabric.autocast():
                logits = head(hidden[:, : batch["ids"].shape[1]], batch)
                predicted = KINDS[queries[index].kind].predict(logits, batch)
            for feature, output in zip(features, predicted, strict=True):
                by_query[index][feature] = output
        stopping.check()
        inference.tick(int(mask.sum()))
    return by_query


def _bundles(queries: Sequence[Query]) -> NDArray[np.int64]:
    """The bundle of every feature of all queries, numbered through."""
    bundles: list[NDArray[np.int64]] = []
    taken = 0
    for query in queries:
        bundles.append(query.features.bundles() + taken)
        taken = 1 + int(bundles[-1].max())
    return np.concatenate(bundles)


def _by_query(chosen: Sequence[int], firsts: NDArray[np.int64]) -> dict[int, list[int]]:
    """Query → its own features among those chosen of all, the first query first."""
    groups: dict[int, list[int]] = {}
    for feature in chosen:
        index = int(np.searchsorted(firsts, feature, side="right")) - 1
        groups.setdefault(index, []).append(feature - int(firsts[index]))
    return dict(sorted(groups.items()))


def _joined(parts: Sequence[Tensor], fill: int) -> Tensor:
    """Values per token of several batches, [features, longest]."""
    return nn.utils.rnn.pad_sequence([sequence for part in parts for sequence in part], True, fill)


def _upper(
    scored: Sequence[Scored],
    ids: Tensor,
    mask: Tensor,
    sizes: Sequence[int],
    depth: int,
    inference: Inference,
) -> list[Tensor]:
    """The hidden states [features, tokens, width] of each run of `sizes` features under its own
    composition."""
    adapted, stop = inference.adapted, inference.stop
    setups = [each.setup for each in scored]
    trunk = inference.trunk(ids, mask, depth)
    with inference.fabric.autocast():
        if activate_rows(adapted, setups, sizes):
            return list(adapted.encoder.run(trunk, mask, depth, stop).split(list(sizes)))
        states = []
        runs = zip(setups, trunk.split(list(sizes)), mask.split(list(sizes)), strict=True)
        for setup, below, present in runs:
            adapted.activate(setup)
            states.append(adapted.encoder.run(below, present, depth, stop))
        return states
