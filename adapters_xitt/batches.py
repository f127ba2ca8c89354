"""Rows to token units, units to batches: encoding, the order of training examples, length-bucketed micro-batches.

A unit is one sequence the encoder reads. A long text has several; each knows its example."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORE = -100  # the label of a token that is not scored

# Columns with one value per token, and what fills them up to the longest unit of a batch. The encoder's pad id
# fills "ids" and is passed in.
PER_TOKEN = {"labels": IGNORE, "word": -1, "open": 0}


@dataclass(frozen=True)
class Lengths:
    """Caps, in sub-word tokens. Question answering alone uses `stride`, the tokens from the start of one window to
    the start of the next (SQuAD's doc_stride), and `question`."""

    max_length: int = 128
    stride: int = 128
    question: int = 64

    def record(self) -> dict[str, int]:
        return {"max_length": self.max_length, "stride": self.stride, "question": self.question}


@dataclass(frozen=True)
class Units:
    """Encoded rows: one entry per unit in every column. `weight` is what a unit counts in the loss's denominator."""

    columns: dict[str, list]
    examples: int

    def __len__(self) -> int:
        return len(self.columns["ids"])

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.array([len(ids) for ids in self.columns["ids"]], dtype=np.int64)

    def bundles(self, chosen: Sequence[int]) -> list[list[int]]:
        """The chosen units in groups that must lie in one batch: the choices of an item; else each by itself."""
        if "choice" not in self.columns:
            return [[unit] for unit in chosen]
        found: dict[int, list[int]] = {}
        for unit in chosen:
            found.setdefault(self.columns["example"][unit], []).append(unit)
        return list(found.values())

    def of_examples(self) -> list[list[int]]:
        """The units of every example."""
        found: list[list[int]] = [[] for _ in range(self.examples)]
        for unit, example in enumerate(self.columns["example"]):
            found[example].append(unit)
        return found


def encode(kind: str, rows: Sequence[dict], labels: Sequence[str], *, tokenizer: Any, lengths: Lengths) -> Units:
    """The units of `rows`; `tokenizer` is a fast tokenizer of the XLM-R layout."""
    return Units(ENCODERS[kind](rows, labels, tokenizer, lengths), len(rows))


def _pair(rows: Sequence[dict], labels: Sequence[str], tokenizer: Any, lengths: Lengths) -> dict[str, list]:
    encoded = tokenizer([row["a"] for row in rows], [row["b"] for row in rows], truncation="longest_first",
                        max_length=lengths.max_length)
    return {"ids": encoded["input_ids"], "example": list(range(len(rows))), "weight": [1] * len(rows),
            "label": [IGNORE if row["label"] is None else row["label"] for row in rows]}


def _tagging(rows: Sequence[dict], labels: Sequence[str], tokenizer: Any, lengths: Lengths) -> dict[str, list]:
    """Each sentence as one or more windows cut between words; the first token of a word carries its label."""
    columns: dict[str, list] = {name: [] for name in ("ids", "example", "weight", "labels", "word")}
    room = lengths.max_length - 2
    encoded = tokenizer([row["words"] for row in rows], is_split_into_words=True, add_special_tokens=False)
    for example, row in enumerate(rows):
        pieces: list[list[int]] = [[] for _ in row["words"]]
        for token, word in zip(encoded["input_ids"][example], encoded.word_ids(example), strict=True):
            pieces[word].append(token)
        windows: list[tuple[list[int], list[int]]] = [([], [])]
        for word, tokens in enumerate(pieces):
            tokens = tokens[:room] or [tokenizer.unk_token_id]  # a word of blanks only has no token
            if len(windows[-1][0]) + len(tokens) > room:
                windows.append(([], []))
            windows[-1][0].extend(tokens)
            windows[-1][1].extend([word] + [-1] * (len(tokens) - 1))
        tags = row["tags"] or [IGNORE] * len(row["words"])
        for ids, words in windows:
            columns["ids"].append([tokenizer.bos_token_id, *ids, tokenizer.eos_token_id])
            columns["word"].append([-1, *words, -1])
            columns["labels"].append([IGNORE, *(tags[word] if word >= 0 else IGNORE for word in words), IGNORE])
            columns["example"].append(example)
            columns["weight"].append(sum(word >= 0 for word in words))
    return columns


def _qa(rows: Sequence[dict], labels: Sequence[str], tokenizer: Any, lengths: Lengths) -> dict[str, list]:
    """Windows over the context after the question. `open` marks the context tokens for which this window gives the
    most context (SQuAD's is_max_context); `offsets` are character spans of the context, blanks at the edges cut."""
    names = ("ids", "example", "weight", "start", "end", "offsets", "open")
    columns: dict[str, list] = {name: [] for name in names}
    for example, (row, windows) in enumerate(zip(rows, _windows(rows, tokenizer, lengths), strict=True)):
        for ids, offsets in windows:
            spans = [_trim(row["context"], *span) for span in offsets]
            start, end = _target(spans, row["answers"])
            for name, value in zip(names, (ids, example, 1, start, end, spans, None), strict=True):
                columns[name].append(value)
    columns["open"] = _most_context(columns["offsets"], columns["example"])
    return columns


def _windows(rows: Sequence[dict], tokenizer: Any, lengths: Lengths) -> list[list[tuple[list[int], list]]]:
    """Per row its windows: token ids, and the character span of each context token ((0, 0) for the others)."""
    questions = [_clip(row["question"], tokenizer, lengths.question) for row in rows]
    sizes = [len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    found: list[list[tuple[list[int], list]]] = [[] for _ in rows]
    for size in sorted(set(sizes)):  # tokenizers want the overlap, which is the room for context less the stride
        room = lengths.max_length - size - 4
        chosen = [at for at, other in enumerate(sizes) if other == size]
        encoded = tokenizer([questions[at] for at in chosen], [rows[at]["context"] for at in chosen],
                            truncation="only_second", max_length=lengths.max_length,
                            stride=max(room - lengths.stride, 0), return_overflowing_tokens=True,
                            return_offsets_mapping=True)
        for window, at in enumerate(encoded["overflow_to_sample_mapping"]):
            spans = [span if sequence == 1 else (0, 0) for span, sequence in
                     zip(encoded["offset_mapping"][window], encoded.sequence_ids(window), strict=True)]
            found[chosen[at]].append((encoded["input_ids"][window], spans))
    return found


def _clip(question: str, tokenizer: Any, most: int) -> str:
    """The first `most` tokens of a question, as text; blanks at its start would become tokens."""
    question = question.strip()
    encoded = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    return question if len(spans) <= most else question[: spans[most - 1][1]]


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """A span without the blanks at its edges; (-1, -1) where nothing is left."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else (-1, -1)


def _target(spans: list[tuple[int, int]], answers: list[dict]) -> tuple[int, int]:
    """First and last token of the first answer; (0, 0), the `<s>`, where it is not whole in this window."""
    if not answers:
        return 0, 0
    start, end = answers[0]["start"], answers[0]["start"] + len(answers[0]["text"])
    inside = [at for at, (left, right) in enumerate(spans) if left >= 0 and left < end and right > start]
    if not inside or spans[inside[0]][0] > start or spans[inside[-1]][1] < end:
        return 0, 0
    return inside[0], inside[-1]


def _most_context(offsets: list[list[tuple[int, int]]], examples: list[int]) -> list[list[int]]:
    """1 for a context token in the window where min(left context, right context) + length/100 is greatest."""
    best: dict[tuple[int, int], tuple[float, int]] = {}
    places: list[dict[int, int]] = []
    for unit, spans in enumerate(offsets):
        inside = [at for at, (left, _) in enumerate(spans) if left >= 0]
        places.append({at: spans[at][0] for at in inside})
        for rank, at in enumerate(inside):
            score = min(rank, len(inside) - 1 - rank) + 0.01 * len(inside)
            token = (examples[unit], spans[at][0])
            if token not in best or score > best[token][0]:
                best[token] = (score, unit)
    return [[int(at in places[unit] and best[examples[unit], places[unit][at]][1] == unit)
             for at in range(len(spans))] for unit, spans in enumerate(offsets)]


def _retrieval(rows: Sequence[dict], labels: Sequence[str], tokenizer: Any, lengths: Lengths) -> dict[str, list]:
    """Both sides of every pair: units 0 … n-1 are the queries, n … 2n-1 the candidates."""
    sides = [row["query"] for row in rows] + [row["candidate"] for row in rows]
    encoded = tokenizer(sides, truncation=True, max_length=lengths.max_length)
    return {"ids": encoded["input_ids"], "example": list(range(len(rows))) * 2, "weight": [1] * len(sides)}


ENCODERS = {"pair": _pair, "tagging": _tagging, "qa": _qa, "retrieval": _retrieval}


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Optimiser steps in one pass over the data; the last one may be smaller."""
    return -(-examples // batch_size)


def epoch_batches(lengths: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int) -> list[NDArray[np.int64]]:
    """The examples of every optimiser step of one epoch, drawn without replacement.

    Shuffled, then sorted by length within pools of 32 steps so that a step's examples are of like length, then the
    steps are shuffled. `lengths` has one entry per example, in tokens."""
    draw = np.random.default_rng([seed, epoch, len(lengths)])
    order = draw.permutation(len(lengths))
    pool = 32 * batch_size
    batches = []
    for at in range(0, len(order), pool):
        part = order[at : at + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches.extend(part[i : i + batch_size] for i in range(0, len(part), batch_size))
    return [batches[i] for i in draw.permutation(len(batches))]


def micro_batches(units: Units, chosen: Sequence[int], tokens: int) -> list[list[int]]:
    """The chosen units longest first, cut so that no micro-batch holds more than `tokens` tokens, padding included (a
    single bundle may). Longest first: where memory is short, it is short at once."""
    lengths = units.lengths
    bundles = [(int(max(lengths[unit] for unit in bundle)), bundle) for bundle in units.bundles(chosen)]
    found: list[list[int]] = []
    for _, bundle in sorted(bundles, key=lambda pair: (-pair[0], pair[1])):
        if found and (len(found[-1]) + len(bundle)) * lengths[found[-1]].max() <= tokens:
            found[-1].extend(bundle)
        else:
            found.append(list(bundle))
    return found


def collate(units: Units, chosen: Sequence[int], *, pad: int, seed: int | None = None) -> dict[str, NDArray]:
    """The chosen units as arrays, [units] or [units, longest]; `mask` is 1 where there is a token. What a kind draws
    anew is drawn from `seed`; None is the fixed drawing of evaluation."""
    longest = max(len(units.columns["ids"][unit]) for unit in chosen)
    batch: dict[str, NDArray] = {"mask": np.zeros((len(chosen), longest), dtype=np.int64)}
    for name, column in units.columns.items():
        if name == "offsets":
            continue  # characters, not tokens: decoding reads them from the units
        if name == "ids" or name in PER_TOKEN:
            filled = np.full((len(chosen), longest), pad if name == "ids" else PER_TOKEN[name], dtype=np.int64)
            for at, unit in enumerate(chosen):
                filled[at, : len(column[unit])] = column[unit]
                if name == "ids":
                    batch["mask"][at, : len(column[unit])] = 1
            batch[name] = filled
        else:
            batch[name] = np.array([column[unit] for unit in chosen], dtype=np.int64)
    return batch
