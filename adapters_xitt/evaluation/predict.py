"""A cohort of compositions over the same features: their heads' outputs, batch by batch over a
shared trunk."""

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
from adapters_xitt.data.batching import collate, micro_batches
from adapters_xitt.data.features import Features
from adapters_xitt.kinds import KINDS
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.setup import AdapterSetup
from adapters_xitt.model.trunk import KeptTrunk


class Attention:
    """What a fusion gives each of its parts: the mean over tokens of every layer, bottleneck by
    bottleneck."""

    def __init__(self) -> None:
        self.total: dict[int, list[NDArray]] = {}
        self.tokens = 0

    def add(self, attended: Mapping[int, Sequence[Any]], mask: NDArray) -> None:
        """Adds a batch: layer → arrays [features, tokens, parts], one for each bottleneck of the
        layer."""
        self.tokens += int(mask.sum())
        for layer, arrays in attended.items():
            sums = [
                np.einsum("utp,ut->p", np.asarray(array, dtype=np.float64), mask)
                for array in arrays
            ]
            before = self.total.get(layer, [np.float64(0.0)] * len(sums))
            self.total[layer] = [a + b for a, b in zip(before, sums, strict=True)]

    def mean(self) -> list[list[float]]:
        """[bottlenecks from the lowest layer up, parts]; each sums to one."""
        totals = [total for layer in sorted(self.total) for total in self.total[layer]]
        return [(total / self.tokens).tolist() for total in totals]


@dataclass(frozen=True)
class Scored:
    """One composition of a cohort and the head above it; `attention` collects what a fusion attends
    to."""

    setup: AdapterSetup
    head: nn.Module
    attention: Attention | None = None


def trunk_depth(cohort: Sequence[Scored], stop: int) -> int:
    """Layers that all compositions share; a fully fine-tuned encoder shares none, its embeddings
    included."""
    return min([stop, *(scored.setup.depth for scored in cohort)])


@dataclass(frozen=True)
class Inference:
    """The encoder that is run, and how: batches of at most `tokens` tokens up to the depth `stop`.
    `tick` is told the tokens of every batch, once for each composition."""

    adapted: AdaptedEncoder
    fabric: Fabric
    tokens: int
    stop: int
    tick: Callable[[int], None] = lambda tokens: None
    kept: KeptTrunk | None = None  # the trunk of features that are read again and again

    @property
    def pad(self) -> int:
        """The id that fills sequences up."""
        return self.adapted.encoder.files.config["pad_token_id"]

    def batch(self, arrays: Mapping[str, NDArray]) -> dict[str, Tensor]:
        """A batch where the encoder is."""
        device = self.adapted.encoder.device
        return {name: torch.from_numpy(array).to(device) for name, array in arrays.items()}

    def trunk(self, ids: Tensor, mask: Tensor, depth: int) -> Tensor:
        """Hidden states [features, tokens, width] after the layers below any module."""
        encoder = self.adapted.encoder
        self.adapted.activate(AdapterSetup((), (), None, depth))
        with self.fabric.autocast():
            return encoder.run(encoder.embed(ids), mask, 0, depth)


@torch.no_grad()
def outputs(
    cohort: Sequence[Scored], features: Features, kind: str, inference: Inference
) -> list[list[NDArray]]:
    """What each composition's head outputs for each feature, [compositions][features]; the trunk
    runs once per batch, longest first."""
    by_composition: list[list[Any]] = [[None] * len(features) for _ in cohort]
    for scored in cohort:
        scored.head.eval()
    shared = [scored for scored in cohort if not scored.setup.full]
    kept = None if features.vocabulary else inference.kept
    depth = kept.depth if kept else trunk_depth(shared, inference.stop)
    for chosen in micro_batches(
        features.lengths, range(len(features)), inference.tokens, bundles=features.bundles()
    ):
        arrays = collate(features, chosen, pad=inference.pad)
        batch = inference.batch(arrays)
        trunk: Tensor | None = None
        if kept:
            trunk = kept.hidden(features, chosen, arrays["ids"].shape[1])
        elif shared:
            trunk = inference.trunk(batch["ids"], batch["mask"], depth)
        for scored, by_feature in zip(cohort, by_composition, strict=True):
            hidden = _upper(scored, batch, trunk, depth, inference)
            with inference.fabric.autocast():
                predicted = KINDS[kind].predict(scored.head(hidden, batch), batch)
            for feature, output in zip(chosen, predicted, strict=True):
                by_feature[feature] = output
            stopping.check()
            inference.tick(int(arrays["mask"].sum()))
    return by_composition


def _upper(
    scored: Scored,
    batch: Mapping[str, Tensor],
    trunk: Tensor | None,
    depth: int,
    inference: Inference,
) -> Tensor:
    """Hidden states [features, tokens, width] at the depth that is read, under one composition:
    from the trunk, or from the embeddings where a fully fine-tuned encoder shares none."""
    inference.adapted.activate(scored.setup)
    encoder = inference.adapted.encoder_of(scored.setup)
    if scored.setup.full or trunk is None:
        trunk, depth = encoder.embed(batch["ids"]), 0
    with inference.fabric.autocast():
        if scored.attention is None:
            return encoder.run(trunk, batch["mask"], depth, inference.stop)
        with encoder.attending() as attended:
            hidden = encoder.run(trunk, batch["mask"], depth, inference.stop)
        scored.attention.add(attended, batch["mask"].cpu().numpy())
        return hidden
