"""One of several answers to a prompt: each choice is read with the prompt and scored, and a softmax
is over the choices of an item."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from adapters_xitt.data import truncation
from adapters_xitt.data.features import IGNORE, Features, Lengths
from adapters_xitt.kinds.pair import PooledHead, pooled_size
from adapters_xitt.kinds.record import (
    Batch,
    Decoded,
    HeadOutputs,
    Kind,
    commonest_label,
    gold_label,
)
from adapters_xitt.kinds.softmax import softmax
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.kinds import Examples


def encode(
    examples: Examples, tokenizer: Any, lengths: Lengths, reading: Convention
) -> dict[str, list]:
    """A feature per choice, the prompt before it. What is too long loses the start of its prompt,
    and the end of its choice only where that alone is too long. An item's weight lies on its first
    choice."""
    columns: dict[str, list] = {
        name: [] for name in ("ids", "example", "weight", "lost", "choice", "label")
    }
    room = lengths.max_length - 4
    prompts = [example["prompt"] for example in examples]
    choices = [choice for example in examples for choice in example["choices"]]
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    choice_ids = iter(tokenizer(choices, add_special_tokens=False)["input_ids"])
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    for index, (example, prompt) in enumerate(zip(examples, prompt_ids, strict=True)):
        label = IGNORE if example["label"] is None else example["label"]
        for number in range(len(example["choices"])):
            whole = next(choice_ids)
            choice = whole[:room]
            kept = prompt[max(len(prompt) + len(choice) - room, 0) :]
            lost = int(len(kept) + len(choice) < len(prompt) + len(whole))
            ids = [start, *kept, end, end, *choice, end]
            feature = (ids, index, int(number == 0), lost, number, label)
            for name, value in zip(columns, feature, strict=True):
                columns[name].append(value)
    return columns


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy over the choices of each item; an item lies in one batch, whole."""
    _, item = batch["example"].unique(return_inverse=True)
    size = (int(item.max()) + 1, int(batch["choice"].max()) + 1)
    scores = logits.new_full(size, float("-inf"), dtype=torch.float32)
    scores = scores.index_put((item, batch["choice"]), logits[:, 0].float())
    labels = batch["label"].new_zeros(size[0]).scatter(0, item, batch["label"])
    return functional.cross_entropy(scores, labels, ignore_index=IGNORE, reduction="sum")


def predict(logits: Tensor, batch: Batch) -> list[NDArray]:
    """By feature: the score of the choice [1]."""
    return list(logits.float().cpu().numpy())


def decode(test: HeadOutputs) -> Decoded:
    """Probabilities over the choices of each item, one item after another; `choices` counts
    them."""
    scores = [
        np.concatenate([test.outputs[feature] for feature in features])
        for features in test.features.of_examples()
    ]
    probabilities = [softmax(of_item) for of_item in scores]
    predicted = [int(of_item.argmax()) for of_item in probabilities]
    gold = [gold_label(test.task, example) for example in test.examples]
    items = [
        {"id": example["id"], "label": label, "gold": right}
        for example, label, right in zip(test.examples, predicted, gold, strict=True)
    ]
    sizes = np.array([len(of_item) for of_item in probabilities], dtype=np.int64)
    arrays = {"probabilities": np.concatenate(probabilities), "choices": sizes}
    return Decoded(items, arrays, predicted, gold)


def cuts(examples: Examples, features: Features) -> dict[str, int]:
    """The items that lost something."""
    what = "items lost the start of their prompt or the end of a choice"
    return {what: truncation.examples_cut(features)}


def permute(examples: Examples, seed: int) -> list[dict[str, Any]]:
    """Every label goes to another example, which may have fewer choices than the label's own."""
    order = np.random.default_rng(seed).permutation(len(examples))
    return [
        {**example, "label": examples[index]["label"] % len(example["choices"])}
        for example, index in zip(examples, order, strict=True)
    ]


KIND = Kind(
    name="choice",
    columns=("prompt", "choices", "label"),
    lengths=Lengths(128),
    encode=encode,
    head=lambda encoder, labels: PooledHead(encoder.width, 1),
    size=lambda width, labels: pooled_size(width, 1),
    loss=loss,
    predict=predict,
    decode=decode,
    cuts=cuts,
    majority=commonest_label,
    permute=permute,
)
