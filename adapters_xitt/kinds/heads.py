"""One head per kind of task: its module, its loss as a sum, and what it says of each unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from adapters_xitt.data.features import IGNORE
from adapters_xitt.data.mixture import space
from adapters_xitt.errors import XittError
from adapters_xitt.model.encoder import Encoder
from adapters_xitt.model.session import ModelSession
from adapters_xitt.modules.manifest import Module
from adapters_xitt.tasks import Task

DROPOUT = 0.1
POOLED = ("pair", "choice")  # the kinds whose heads have a pooler
Batch = Mapping[str, Tensor]


class PairHead(nn.Module):
    """`<s>` → dropout → pooler, tanh → dropout → labels. The pooler belongs to the head: the
    checkpoint has none."""

    def __init__(self, width: int, labels: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.pooler = nn.Linear(width, width)
        self.out = nn.Linear(width, labels)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """[units, tokens, width] to [units, labels]."""
        pooled = torch.tanh(self.pooler(self.dropout(hidden[:, 0])))
        return self.out(self.dropout(pooled))


class TokenHead(nn.Module):
    """Every token → dropout → labels; of extractive question answering, start and end."""

    def __init__(self, width: int, labels: int, dropout: float = DROPOUT) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.out = nn.Linear(width, labels)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """[units, tokens, width] to [units, tokens, labels]."""
        return self.out(self.dropout(hidden))


class Pool(nn.Module):
    """One vector of a sentence: the mean over the tokens, `<s>` and `</s>` among them (XTREME's
    Tatoeba), or the first, `<s>`; nothing is trained."""

    def __init__(self, pooling: str = "mean") -> None:
        super().__init__()
        self.pooling = pooling

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """[units, tokens, width] to [units, width]."""
        hidden = hidden.float()  # sums of many tokens, whatever the precision
        if self.pooling == "first":
            return hidden[:, 0]
        weights = batch["mask"].to(hidden.dtype)[..., None]
        return (hidden * weights).sum(1) / weights.sum(1)


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
        """[units, tokens, width] to [guessed tokens, vocabulary], unit by unit."""
        guessed = hidden[batch["labels"] != IGNORE]
        return self.encoder.unembed(self.layer_norm(functional.gelu(self.dense(guessed))))


def _pair_loss(logits: Tensor, batch: Batch) -> Tensor:
    return functional.cross_entropy(
        logits.float(), batch["label"], ignore_index=IGNORE, reduction="sum"
    )


def _tagging_loss(logits: Tensor, batch: Batch) -> Tensor:
    return functional.cross_entropy(
        logits.float().flatten(0, 1),
        batch["labels"].flatten(),
        ignore_index=IGNORE,
        reduction="sum",
    )


def _qa_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean of the start's and the end's cross-entropy, over the tokens of the window."""
    scores = logits.float().masked_fill(batch["mask"][..., None] == 0, float("-inf"))
    return (
        sum(
            functional.cross_entropy(scores[..., at], batch[name], reduction="sum")
            for at, name in enumerate(("start", "end"))
        )
        / 2
    )


def _choice_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy over the choices of each item; an item lies in one batch, whole."""
    _, item = batch["example"].unique(return_inverse=True)
    size = (int(item.max()) + 1, int(batch["choice"].max()) + 1)
    scores = logits.new_full(size, float("-inf"), dtype=torch.float32)
    scores = scores.index_put((item, batch["choice"]), logits[:, 0].float())
    labels = batch["label"].new_zeros(size[0]).scatter(0, item, batch["label"])
    return functional.cross_entropy(scores, labels, ignore_index=IGNORE, reduction="sum")


def _mlm_loss(logits: Tensor, batch: Batch) -> Tensor:
    return functional.cross_entropy(
        logits.float(), batch["labels"][batch["labels"] != IGNORE], reduction="sum"
    )


def _pair_say(logits: Tensor, batch: Batch) -> list[NDArray]:
    """Per unit: probabilities [labels]."""
    return list(logits.float().softmax(-1).cpu().numpy())


def _tagging_say(logits: Tensor, batch: Batch) -> list[NDArray]:
    """Per unit: probabilities [words, labels], words in order."""
    probabilities, word = logits.float().softmax(-1).cpu().numpy(), batch["word"].cpu().numpy()
    return [feature[words >= 0] for feature, words in zip(probabilities, word, strict=True)]


def _qa_say(logits: Tensor, batch: Batch) -> list[NDArray]:
    """Per unit: start and end logits [2, tokens]."""
    scores, lengths = logits.float().cpu().numpy(), batch["mask"].sum(1).cpu().numpy()
    return [
        np.ascontiguousarray(feature[:length].T)
        for feature, length in zip(scores, lengths, strict=True)
    ]


def _retrieval_say(logits: Tensor, batch: Batch) -> list[NDArray]:
    """Per unit: the embedding [width]."""
    return list(logits.float().cpu().numpy())


def _choice_say(logits: Tensor, batch: Batch) -> list[NDArray]:
    """Per unit: the score of the choice [1]."""
    return list(logits.float().cpu().numpy())


def _mlm_say(logits: Tensor, batch: Batch) -> list[NDArray]:
    """Per unit: log-probability of the gold token, the likeliest token and the gold one [guessed
    tokens, 3]."""
    gold = batch["labels"][batch["labels"] != IGNORE]
    scores = logits.float()
    log = scores.gather(1, gold[:, None])[:, 0] - scores.logsumexp(1)
    found = torch.stack([log.double(), scores.argmax(1).double(), gold.double()], 1).cpu().numpy()
    return np.split(found, np.cumsum((batch["labels"] != IGNORE).sum(1).cpu().numpy())[:-1])


@dataclass(frozen=True)
class Kind:
    """What a kind of task needs above the encoder. `loss` is summed over units; the caller divides
    by the weight of the whole effective batch. `size` counts the parameters of the head from width
    and number of labels."""

    head: Callable[[Encoder, int], nn.Module]
    size: Callable[[int, int], int]
    say: Callable[[Tensor, Batch], list[NDArray]]
    loss: Callable[[Tensor, Batch], Tensor] | None = None


def _pair_size(width: int, labels: int) -> int:
    return width * (width + 1) + _token_size(width, labels)


def _token_size(width: int, labels: int) -> int:
    return (width + 1) * labels


HEADS: dict[str, Kind] = {
    "pair": Kind(
        lambda encoder, labels: PairHead(encoder.width, labels), _pair_size, _pair_say, _pair_loss
    ),
    "tagging": Kind(
        lambda encoder, labels: TokenHead(encoder.width, labels),
        _token_size,
        _tagging_say,
        _tagging_loss,
    ),
    "qa": Kind(
        lambda encoder, labels: TokenHead(encoder.width, 2),
        lambda width, labels: _token_size(width, 2),
        _qa_say,
        _qa_loss,
    ),
    "retrieval": Kind(lambda encoder, labels: Pool(), lambda width, labels: 0, _retrieval_say),
    "mining": Kind(lambda encoder, labels: Pool(), lambda width, labels: 0, _retrieval_say),
    "ranking": Kind(lambda encoder, labels: Pool(), lambda width, labels: 0, _retrieval_say),
    "choice": Kind(
        lambda encoder, labels: PairHead(encoder.width, 1),
        lambda width, labels: _pair_size(width, 1),
        _choice_say,
        _choice_loss,
    ),
    "mlm": Kind(
        lambda encoder, labels: MaskedHead(encoder),
        lambda width, labels: width * (width + 3),
        _mlm_say,
        _mlm_loss,
    ),
}


def build(kind: str, encoder: Encoder, labels: int, *, seed: int) -> nn.Module:
    """A fresh head; weights N(0, 0.02) as the encoder's own, biases zero. That of masked language
    modelling starts from the checkpoint's, where its file has one."""
    torch.manual_seed(seed)
    head = HEADS[kind].head(encoder, labels)
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
    if isinstance(head, MaskedHead):
        own = head.state_dict()
        head.load_state_dict(
            {name: encoder.lm_head.get(name, value) for name, value in own.items()}
        )
    return head


def trained(
    task: Task,
    modules: Sequence[Module],
    session: ModelSession,
    *,
    seed: int = 0,
    pooling: str = "mean",
) -> nn.Module:
    """The head of a task's label space: that of the first module that has it, or a fresh one where
    there are no modules; `pooling` where nothing is trained."""
    if not task.trains:
        return Pool(pooling)
    head = build(task.kind, session.adapted.encoder, len(task.labels), seed=seed)
    if modules:
        module = next((one for one in modules if one.part(f"head.{space(task)}")), modules[0])
        stored, own = module.part(f"head.{space(task)}"), head.state_dict()
        if {name: value.shape for name, value in stored.items()} != {
            name: own[name].shape for name in own
        }:
            raise XittError(
                f"module {module.manifest.key[:12]} ({module.manifest.role}): it has no head that"
                f" fits kind {task.kind!r} with labels {' '.join(task.labels) or '(none)'}"
            )
        head.load_state_dict(stored)
    return head.to(session.fabric.device)
