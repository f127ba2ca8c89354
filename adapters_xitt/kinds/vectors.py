"""What the kinds share that read the encoder as it is: a vector of each sentence, and the nearest
ones on the other side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from adapters_xitt.data.features import Lengths, tokenize
from adapters_xitt.kinds.nearest import unit_length
from adapters_xitt.kinds.record import Batch, HeadOutputs, unlabelled
from adapters_xitt.model.encoder import Encoder
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.kinds import Examples


class Pool(nn.Module):
    """One vector of a sentence: the mean over the tokens, `<s>` and `</s>` among them (XTREME's
    Tatoeba), or the first, `<s>`; nothing is trained."""

    def __init__(self, pooling: str = "mean") -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """[features, tokens, width] to [features, width]."""
        hidden = hidden.float()  # sums of many tokens, whatever the precision
        if self.pooling == "first":
            return hidden[:, 0]
        weights = batch["mask"].to(hidden.dtype)[..., None]
        return (hidden * weights).sum(1) / weights.sum(1)


def head(encoder: Encoder, labels: int) -> nn.Module:
    """The mean over the tokens."""
    return Pool()


def size(width: int, labels: int) -> int:
    """A `Pool` has no parameters."""
    return 0


def predict(logits: Tensor, batch: Batch) -> list[NDArray]:
    """By feature: the vector [width]."""
    return list(logits.float().cpu().numpy())


def encode_sides(
    examples: Examples, tokenizer: Any, lengths: Lengths, reading: Convention
) -> dict[str, list]:
    """A feature per example: each is a sentence of one side or the other."""
    texts = [example["text"] for example in examples]
    ids, lost = tokenize(texts, tokenizer, lengths.max_length)
    return {
        "ids": ids,
        "example": list(range(len(examples))),
        "weight": [1] * len(examples),
        "lost": lost,
    }


def sides(test: HeadOutputs) -> tuple[list[int], list[int], Tensor]:
    """The indices of the queries and of the candidates among the examples, and every example's
    vector of length one."""
    queries, candidates = (
        [index for index, example in enumerate(test.examples) if example["side"] == side]
        for side in ("query", "candidate")
    )
    for index in queries:
        if test.examples[index]["gold"] is None:
            raise unlabelled(test.task, test.examples[index])
    return queries, candidates, unit_length(np.stack(test.outputs))
