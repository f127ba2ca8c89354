"""One label for two texts, such as natural language inference: a pooler and a layer above `<s>`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn, tanh
from torch.nn import functional

from adapters_xitt.data.features import IGNORE, Lengths, cut_off
from adapters_xitt.kinds.record import Batch, Decoded, HeadOutputs, Kind, commonest_label
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.kinds import Examples

DROPOUT = 0.1


class PooledHead(nn.Module):
    """`<s>` → dropout → pooler, tanh → dropout → labels. The pooler belongs to the head: the
    checkpoint has none."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.pooler = nn.Linear(width, width)
        self.out = nn.Linear(width, labels)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """[features, tokens, width] to [features, labels]."""
        pooled = tanh(self.pooler(self.dropout(hidden[:, 0])))
        return self.out(self.dropout(pooled))


def pooled_size(width: int, labels: int) -> int:
    """The parameters of a `PooledHead`."""
    return width * (width + 1) + (width + 1) * labels


def encode(
    examples: Examples, tokenizer: Any, lengths: Lengths, reading: Convention
) -> dict[str, list]:
    """A feature an example, both texts in it; the longer one loses its end first."""
    encoded = tokenizer(
        [example["a"] for example in examples],
        [example["b"] for example in examples],
        truncation="longest_first",
        max_length=lengths.max_length,
    )
    labels = [example["label"] for example in examples]
    return {
        "ids": encoded["input_ids"],
        "example": list(range(len(examples))),
        "weight": [1] * len(examples),
        "lost": cut_off(encoded, lengths.max_length),
        "label": [IGNORE if label is None else label for label in labels],
    }


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy over the labels of each feature."""
    return functional.cross_entropy(
        logits.float(), batch["label"], ignore_index=IGNORE, reduction="sum"
    )


def predict(logits: Tensor, batch: Batch) -> list[NDArray]:
    """By feature: probabilities [labels]."""
    return list(logits.float().softmax(-1).cpu().numpy())


def decode(test: HeadOutputs) -> Decoded:
    """The likeliest label of every example."""
    probabilities = np.stack(test.outputs)
    predicted = probabilities.argmax(1).tolist()
    gold = [example["label"] for example in test.examples]
    names = test.task.labels
    items = [
        {"id": example["id"], "label": names[label], "gold": names[example["label"]]}
        for example, label in zip(test.examples, predicted, strict=True)
    ]
    return Decoded(items, {"probabilities": probabilities}, predicted, gold)


def permute(examples: Examples, seed: int) -> list[dict[str, Any]]:
    """Every label stays, with another example."""
    order = np.random.default_rng(seed).permutation(len(examples))
    return [
        {**example, "label": examples[index]["label"]}
        for example, index in zip(examples, order, strict=True)
    ]


KIND = Kind(
    name="pair",
    columns=("a", "b", "label"),
    lengths=Lengths(128),
    encode=encode,
    head=lambda encoder, labels: PooledHead(encoder.width, labels),
    size=pooled_size,
    loss=loss,
    predict=predict,
    decode=decode,
    majority=commonest_label,
    permute=permute,
)
