"""Masked words of plain text, guessed by XLM-R's own head."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from adapters_xitt.data.features import IGNORE, Lengths, tokenize
from adapters_xitt.kinds.record import Batch, Decoded, HeadOutputs, Kind
from adapters_xitt.model.encoder import Encoder
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.kinds import Examples


class MaskedHead(nn.Module):
    """XLM-R's own masked-language-model head, at the tokens that are guessed: dense → gelu → layer
    norm → the encoder's embeddings as decoder, and its bias. Decoder and bias are the encoder's:
    frozen, and no part of the module, which would otherwise carry a vocabulary."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder  # not an nn.Module: its tensors stay out of this one's
        self.dense = nn.Linear(encoder.width, encoder.width)
        self.layer_norm = nn.LayerNorm(encoder.width, eps=encoder.model.config.layer_norm_eps)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """[features, tokens, width] to [guessed tokens, vocabulary], feature by feature."""
        guessed = hidden[batch["labels"] != IGNORE]
        return self.encoder.unembed(self.layer_norm(functional.gelu(self.dense(guessed))))


def encode(
    examples: Examples, tokenizer: Any, lengths: Lengths, reading: Convention
) -> dict[str, list]:
    """A feature a text; what is guessed of it is drawn when it is collated."""
    texts = [example["text"] for example in examples]
    ids, lost = tokenize(texts, tokenizer, lengths.max_length)
    return {"ids": ids, "example": list(range(len(examples))), "lost": lost}


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy over the vocabulary of each guessed token."""
    gold = batch["labels"][batch["labels"] != IGNORE]
    return functional.cross_entropy(logits.float(), gold, reduction="sum")


def predict(logits: Tensor, batch: Batch) -> list[NDArray]:
    """By feature: log-probability of the gold token, the likeliest token and the gold one [guessed
    tokens, 3]."""
    gold = batch["labels"][batch["labels"] != IGNORE]
    scores = logits.float()
    log = scores.gather(1, gold[:, None])[:, 0] - scores.logsumexp(1)
    table = torch.stack([log.double(), scores.argmax(1).double(), gold.double()], 1).cpu().numpy()
    counts = (batch["labels"] != IGNORE).sum(1).cpu().numpy()
    return np.split(table, np.cumsum(counts)[:-1])


def decode(test: HeadOutputs) -> Decoded:
    """Per example how many tokens were guessed, how many rightly, and the log-likelihood of the
    gold ones in nats; the arrays have the tokens, one example after another, and `tokens` counts
    them."""
    items = [
        {
            "id": example["id"],
            "tokens": len(tokens),
            "hits": int((tokens[:, 1] == tokens[:, 2]).sum()),
            "log_likelihood": float(tokens[:, 0].sum()),
        }
        for example, tokens in zip(test.examples, test.outputs, strict=True)
    ]
    table = np.concatenate(test.outputs)
    predictions = [{"token": int(token), "log_probability": float(log)} for log, token, _ in table]
    arrays = {
        "log_probabilities": table[:, 0].astype(np.float32),
        "hits": (table[:, 1] == table[:, 2]).astype(np.uint8),
        "tokens": np.array([len(tokens) for tokens in test.outputs], dtype=np.int64),
    }
    return Decoded(items, arrays, predictions, table[:, 2].astype(np.int64).tolist())


KIND = Kind(
    name="mlm",
    columns=("text",),
    lengths=Lengths(128),
    encode=encode,
    head=lambda encoder, labels: MaskedHead(encoder),
    size=lambda width, labels: width * (width + 3),
    loss=loss,
    predict=predict,
    decode=decode,
    scoring="15 % of the tokens, one drawing",
    masks=True,
)
