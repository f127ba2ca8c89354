"""One label per word: windows cut between words, a layer above every word's first token."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from adapters_xitt.data.features import IGNORE, Features, Lengths
from adapters_xitt.kinds.pair import DROPOUT
from adapters_xitt.kinds.record import Batch, Decoded, HeadOutputs, Kind, Majority
from adapters_xitt.tasks import Convention, Task
from adapters_xitt.tasks.kinds import Examples

Window = tuple[list[int], list[int]]  # token ids; the word that each token begins, else -1


class TokenHead(nn.Module):
    """Every token → dropout → labels; of extractive question answering, start and end."""

    def __init__(self, width: int, labels: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(DROPOUT)
        self.out = nn.Linear(width, labels)

    def forward(self, hidden: Tensor, batch: Batch) -> Tensor:
        """[features, tokens, width] to [features, tokens, labels]."""
        return self.out(self.dropout(hidden))


def token_size(width: int, labels: int) -> int:
    """The parameters of a `TokenHead`."""
    return (width + 1) * labels


def encode(
    examples: Examples, tokenizer: Any, lengths: Lengths, reading: Convention
) -> dict[str, list]:
    """Each sentence as one or more windows cut between words; the first token of a word carries its
    label."""
    ending = [tokenizer.eos_token_id] * reading.separators
    columns: dict[str, list] = {
        name: [] for name in ("ids", "example", "weight", "labels", "word", "lost")
    }
    room = max(lengths.max_length - 1 - len(ending), 1)
    encoded = tokenizer(
        [example["words"] for example in examples],
        is_split_into_words=True,
        add_special_tokens=False,
    )
    for index, example in enumerate(examples):
        pieces: list[list[int]] = [[] for _ in example["words"]]
        for token, word in zip(encoded["input_ids"][index], encoded.word_ids(index), strict=True):
            pieces[word].append(token)
        unknown = tokenizer.unk_token_id
        tags = example["tags"] or [IGNORE] * len(example["words"])
        for ids, words in _windows(pieces, room, unknown, reading):
            firsts = [-1, *words, *[-1] * len(ending)]
            columns["ids"].append([tokenizer.bos_token_id, *ids, *ending])
            columns["word"].append(firsts)
            columns["labels"].append([tags[word] if word >= 0 else IGNORE for word in firsts])
            columns["example"].append(index)
            columns["weight"].append(sum(word >= 0 for word in words))
            columns["lost"].append(sum(len(pieces[word]) > room for word in words if word >= 0))
    return columns


def _windows(pieces: list[list[int]], room: int, unknown: int, reading: Convention) -> list[Window]:
    """The windows of a sentence whose words have these pieces."""
    windows: list[Window] = [([], [])]
    for word, tokens in enumerate(pieces):
        # a word of blanks only has no token
        if not tokens or (reading.unknown and len(tokens) > room):
            tokens = [unknown]
        tokens = tokens[:room]
        if len(windows[-1][0]) + len(tokens) > room:
            windows.append(([], []))
        windows[-1][0].extend(tokens)
        windows[-1][1].extend([word] + [-1] * (len(tokens) - 1))
    return windows


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy over the labels of each word."""
    return functional.cross_entropy(
        logits.float().flatten(0, 1),
        batch["labels"].flatten(),
        ignore_index=IGNORE,
        reduction="sum",
    )


def predict(logits: Tensor, batch: Batch) -> list[NDArray]:
    """By feature: probabilities [words, labels], words in order."""
    probabilities = logits.float().softmax(-1).cpu().numpy()
    words = batch["word"].cpu().numpy()
    return [of_tokens[word >= 0] for of_tokens, word in zip(probabilities, words, strict=True)]


def decode(test: HeadOutputs) -> Decoded:
    """Windows of a sentence are joined again; every word has one prediction."""
    probabilities = [
        np.concatenate([test.outputs[feature] for feature in features])
        for features in test.features.of_examples()
    ]
    labels = test.task.labels
    predicted = [[labels[label] for label in words.argmax(1)] for words in probabilities]
    gold = [test.task.names(example["tags"]) for example in test.examples]
    items = [
        {"id": example["id"], "tags": tags, "gold": right}
        for example, tags, right in zip(test.examples, predicted, gold, strict=True)
    ]
    sizes = np.array([len(words) for words in probabilities], dtype=np.int64)
    arrays = {"probabilities": np.concatenate(probabilities), "words": sizes}
    return Decoded(items, arrays, predicted, gold)


def cuts(examples: Examples, features: Features) -> dict[str, int]:
    """The words that fit no window."""
    what = "words fit no window and were read as one piece or cut"
    return {what: int(features.columns["lost"].sum())}


def majority(task: Task, train: Examples, test: Examples) -> Majority:
    """The commonest tag, for every word."""
    tags = [tag for example in train for tag in example["tags"]]
    commonest = task.labels[int(np.bincount(tags).argmax())]
    return Majority(
        [[commonest] * len(example["words"]) for example in test],
        [task.names(example["tags"]) for example in test],
    )


def permute(examples: Examples, seed: int) -> list[dict[str, Any]]:
    """Every tag stays, with another word of another sentence."""
    tags = [tag for example in examples for tag in example["tags"]]
    drawn = iter(np.random.default_rng(seed).permutation(tags).tolist())
    return [{**example, "tags": [next(drawn) for _ in example["tags"]]} for example in examples]


KIND = Kind(
    name="tagging",
    columns=("words", "tags"),
    lengths=Lengths(128),
    encode=encode,
    head=lambda encoder, labels: TokenHead(encoder.width, labels),
    size=token_size,
    loss=loss,
    predict=predict,
    decode=decode,
    scoring="first sub-token, spans of equal tags",
    scoring_by={"tag_accuracy": "first sub-token"},
    named_reading="{name}",
    cuts=cuts,
    majority=majority,
    permute=permute,
)
