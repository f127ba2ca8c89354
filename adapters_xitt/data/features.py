"""Rows to token units, units to batches: encoding, the order of training examples, length-bucketed
micro-batches.

A unit is one sequence the encoder reads. A long text has several; each knows its example."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters_xitt.tasks.record import CONVENTIONS, PLAIN, Convention

IGNORE = -100  # the label of a token that is not scored

# Columns with one value per token, and what fills them up to the longest unit of a batch. The
# encoder's pad id fills "ids" and is passed in.
PER_TOKEN = {"labels": IGNORE, "word": -1, "open": 0}

# Masked language modelling (BERT, RoBERTa): the share of the tokens that is guessed; of these, the
# share that is turned into `<mask>` and the share that is turned into a random token; the rest stay
# as they are.
MASKED, TO_MASK, TO_RANDOM = 0.15, 0.8, 0.1


@dataclass(frozen=True)
class Lengths:
    """Caps, in sub-word tokens. Question answering alone uses `stride`, the tokens from the start
    of one window to the start of the next (SQuAD's doc_stride), and `question`."""

    max_length: int = 128
    stride: int = 128
    question: int = 64

    def record(self) -> dict[str, int]:
        return {"max_length": self.max_length, "stride": self.stride, "question": self.question}

    def of_kind(self, kind: str) -> dict[str, int]:
        """The caps that the encoding of a kind reads, for keys; windows further apart than they are
        long are one."""
        if kind != "qa":
            return {"max_length": self.max_length}
        return {**self.record(), "stride": min(self.stride, max(self.max_length - 4, 0))}


@dataclass(frozen=True)
class Vocabulary:
    """What masking needs to know of a tokenizer: how many tokens there are, and which are never
    guessed or drawn."""

    size: int
    mask: int
    special: tuple[int, ...]  # rising

    def draw(self, count: int, draw: np.random.Generator) -> NDArray[np.int64]:
        """`count` tokens, every one that is not special as likely as any other."""
        found = draw.integers(self.size - len(self.special), size=count)
        for token in self.special:
            found += found >= token
        return found


def vocabulary(tokenizer: Any) -> Vocabulary:
    """The vocabulary of a tokenizer; `<unk>` is special too, as in transformers."""
    return Vocabulary(
        len(tokenizer), tokenizer.mask_token_id, tuple(sorted(set(tokenizer.all_special_ids)))
    )


@dataclass(frozen=True)
class Features:
    """Encoded rows: one entry per unit in every column. `weight` is what a unit counts in the
    loss's denominator, `lost` how much the caps cut off from it: of tagging the words that fit no
    window, else 1 where anything is cut.

    Units with a `vocabulary` are masked when they are collated: their labels and weights are known
    only then."""

    columns: dict[str, list]
    examples: int
    vocabulary: Vocabulary | None = None
    # the convention they were encoded under; None: their task's default
    reading: Convention | None = None

    def __len__(self) -> int:
        return len(self.columns["ids"])

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.array([len(ids) for ids in self.columns["ids"]], dtype=np.int64)

    def of_examples(self) -> list[list[int]]:
        """The units of every example."""
        found: list[list[int]] = [[] for _ in range(self.examples)]
        for feature, example in enumerate(self.columns["example"]):
            found[example].append(feature)
        return found

    def bundles(self) -> NDArray[np.int64]:
        """The bundle of every unit. Units of one bundle lie in one micro-batch: an item's choices,
        or a unit alone."""
        return np.array(
            self.columns["example"] if "choice" in self.columns else range(len(self)),
            dtype=np.int64,
        )


def encode(
    kind: str,
    rows: Sequence[dict],
    labels: Sequence[str],
    *,
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention | None = None,
) -> Features:
    """The units of `rows`; `tokenizer` is a fast tokenizer of the XLM-R layout, `reading` the
    convention they are read by, None for the default of their kind."""
    reading = reading or CONVENTIONS.get(kind, (PLAIN,))[0]
    return Features(
        ENCODERS[kind](rows, labels, tokenizer, lengths, reading),
        len(rows),
        vocabulary(tokenizer) if kind == "mlm" else None,
        reading,
    )


def _pair(
    rows: Sequence[dict],
    labels: Sequence[str],
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention,
) -> dict[str, list]:
    encoded = tokenizer(
        [row["a"] for row in rows],
        [row["b"] for row in rows],
        truncation="longest_first",
        max_length=lengths.max_length,
    )
    return {
        "ids": encoded["input_ids"],
        "example": list(range(len(rows))),
        "weight": [1] * len(rows),
        "lost": _cut(encoded, lengths.max_length),
        "label": [IGNORE if row["label"] is None else row["label"] for row in rows],
    }


def _tagging(
    rows: Sequence[dict],
    labels: Sequence[str],
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention,
) -> dict[str, list]:
    """Each sentence as one or more windows cut between words; the first token of a word carries its
    label."""
    ending = [tokenizer.eos_token_id] * reading.separators
    columns: dict[str, list] = {
        name: [] for name in ("ids", "example", "weight", "labels", "word", "lost")
    }
    room = max(lengths.max_length - 1 - len(ending), 1)
    encoded = tokenizer(
        [row["words"] for row in rows], is_split_into_words=True, add_special_tokens=False
    )
    for example, row in enumerate(rows):
        pieces: list[list[int]] = [[] for _ in row["words"]]
        for token, word in zip(
            encoded["input_ids"][example], encoded.word_ids(example), strict=True
        ):
            pieces[word].append(token)
        windows: list[tuple[list[int], list[int]]] = [([], [])]
        for word, tokens in enumerate(pieces):
            # a word of blanks only has no token
            if not tokens or (reading.unknown and len(tokens) > room):
                tokens = [tokenizer.unk_token_id]
            tokens = tokens[:room]
            if len(windows[-1][0]) + len(tokens) > room:
                windows.append(([], []))
            windows[-1][0].extend(tokens)
            windows[-1][1].extend([word] + [-1] * (len(tokens) - 1))
        tags = row["tags"] or [IGNORE] * len(row["words"])
        for ids, words in windows:
            places = [-1, *words, *[-1] * len(ending)]
            columns["ids"].append([tokenizer.bos_token_id, *ids, *ending])
            columns["word"].append(places)
            columns["labels"].append([tags[word] if word >= 0 else IGNORE for word in places])
            columns["example"].append(example)
            columns["weight"].append(sum(word >= 0 for word in words))
            columns["lost"].append(sum(len(pieces[word]) > room for word in words if word >= 0))
    return columns


def _qa(
    rows: Sequence[dict],
    labels: Sequence[str],
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention,
) -> dict[str, list]:
    """Windows over the context after the question. `open` marks the context tokens for which this
    window gives the most context (SQuAD's is_max_context); `offsets` are character spans of the
    context, blanks at the edges cut."""
    names = ("ids", "example", "weight", "start", "end", "lost", "offsets", "open")
    columns: dict[str, list] = {name: [] for name in names}
    questions = [_clip(row["question"], tokenizer, lengths.question) for row in rows]
    windows_of = _windows(rows, questions, tokenizer, lengths)
    for example, (row, question, windows) in enumerate(
        zip(rows, questions, windows_of, strict=True)
    ):
        clipped = int(question != row["question"].strip())
        for ids, offsets in windows:
            spans = [_trim(row["context"], *span) for span in offsets]
            start, end = _target(spans, row["answers"])
            for name, value in zip(
                names, (ids, example, 1, start, end, clipped, spans, None), strict=True
            ):
                columns[name].append(value)
    columns["open"] = _most_context(columns["offsets"], columns["example"])
    return columns


def _windows(
    rows: Sequence[dict], questions: Sequence[str], tokenizer: Any, lengths: Lengths
) -> list[list[tuple[list[int], list]]]:
    """Per row its windows: token ids, and the character span of each context token ((0, 0) for the
    others)."""
    sizes = [len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    found: list[list[tuple[list[int], list]]] = [[] for _ in rows]
    # tokenizers want the overlap, which is the room for context less the stride
    for size in sorted(set(sizes)):
        room = lengths.max_length - size - 4
        chosen = [at for at, other in enumerate(sizes) if other == size]
        encoded = tokenizer(
            [questions[at] for at in chosen],
            [rows[at]["context"] for at in chosen],
            truncation="only_second",
            max_length=lengths.max_length,
            stride=max(room - lengths.stride, 0),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for window, at in enumerate(encoded["overflow_to_sample_mapping"]):
            spans = [
                span if sequence == 1 else (0, 0)
                for span, sequence in zip(
                    encoded["offset_mapping"][window], encoded.sequence_ids(window), strict=True
                )
            ]
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
    """First and last token of the first answer; (0, 0), the `<s>`, where it is not whole in this
    window."""
    if not answers:
        return 0, 0
    start, end = answers[0]["start"], answers[0]["start"] + len(answers[0]["text"])
    inside = [
        at for at, (left, right) in enumerate(spans) if left >= 0 and left < end and right > start
    ]
    if not inside or spans[inside[0]][0] > start or spans[inside[-1]][1] < end:
        return 0, 0
    return inside[0], inside[-1]


def _most_context(offsets: list[list[tuple[int, int]]], examples: list[int]) -> list[list[int]]:
    """1 for a context token in the window where min(left context, right context) + length/100 is
    greatest."""
    best: dict[tuple[int, int], tuple[float, int]] = {}
    places: list[dict[int, int]] = []
    for feature, spans in enumerate(offsets):
        inside = [at for at, (left, _) in enumerate(spans) if left >= 0]
        places.append({at: spans[at][0] for at in inside})
        for rank, at in enumerate(inside):
            score = min(rank, len(inside) - 1 - rank) + 0.01 * len(inside)
            token = (examples[feature], spans[at][0])
            if token not in best or score > best[token][0]:
                best[token] = (score, feature)
    return [
        [
            int(
                at in places[feature] and best[examples[feature], places[feature][at]][1] == feature
            )
            for at in range(len(spans))
        ]
        for feature, spans in enumerate(offsets)
    ]


def _retrieval(
    rows: Sequence[dict],
    labels: Sequence[str],
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention,
) -> dict[str, list]:
    """Both sides of every pair: units 0 … n-1 are the queries, n … 2n-1 the candidates."""
    sides = [row["query"] for row in rows] + [row["candidate"] for row in rows]
    encoded = tokenizer(sides, truncation=True, max_length=lengths.max_length)
    return {
        "ids": encoded["input_ids"],
        "example": list(range(len(rows))) * 2,
        "weight": [1] * len(sides),
        "lost": _cut(encoded, lengths.max_length),
    }


def _sentences(
    rows: Sequence[dict],
    labels: Sequence[str],
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention,
) -> dict[str, list]:
    """A unit per row: rows are sentences of one side or the other."""
    encoded = tokenizer(
        [row["text"] for row in rows], truncation=True, max_length=lengths.max_length
    )
    return {
        "ids": encoded["input_ids"],
        "example": list(range(len(rows))),
        "weight": [1] * len(rows),
        "lost": _cut(encoded, lengths.max_length),
    }


def _ranking(
    rows: Sequence[dict],
    labels: Sequence[str],
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention,
) -> dict[str, list]:
    """A unit per row: queries, and candidates, with their paragraphs where the convention says so.
    Then queries have a cap of their own."""
    if not reading.context:
        return _sentences(rows, labels, tokenizer, lengths, reading)
    sides = [row["side"] == "candidate" for row in rows]
    ids: list[list[int]] = [[] for _ in rows]
    lost = [0] * len(rows)
    for candidates, cap in ((False, lengths.question), (True, lengths.max_length)):
        chosen = [at for at, side in enumerate(sides) if side == candidates]
        texts = [
            (rows[at]["text"] + rows[at].get("context", "")).replace("\n", "").strip()
            for at in chosen
        ]
        encoded = tokenizer(texts, truncation=True, max_length=cap) if texts else {"input_ids": []}
        for at, feature, cut in zip(chosen, encoded["input_ids"], _cut(encoded, cap), strict=True):
            ids[at], lost[at] = feature, cut
    return {"ids": ids, "example": list(range(len(rows))), "weight": [1] * len(rows), "lost": lost}


def _choice(
    rows: Sequence[dict],
    labels: Sequence[str],
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention,
) -> dict[str, list]:
    """A unit per choice, the prompt before it. What is too long loses the start of its prompt, and
    the end of its choice only where that alone is too long. An item's weight lies on its first
    choice."""
    columns: dict[str, list] = {
        name: [] for name in ("ids", "example", "weight", "lost", "choice", "label")
    }
    room = lengths.max_length - 4
    prompts = tokenizer([row["prompt"] for row in rows], add_special_tokens=False)["input_ids"]
    choices = iter(
        tokenizer([choice for row in rows for choice in row["choices"]], add_special_tokens=False)[
            "input_ids"
        ]
    )
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    for example, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
        for at in range(len(row["choices"])):
            whole = next(choices)
            choice = whole[:room]
            kept = prompt[max(len(prompt) + len(choice) - room, 0) :]
            lost = int(len(kept) + len(choice) < len(prompt) + len(whole))
            feature = (
                [start, *kept, end, end, *choice, end],
                example,
                int(at == 0),
                lost,
                at,
                IGNORE if row["label"] is None else row["label"],
            )
            for name, value in zip(columns, feature, strict=True):
                columns[name].append(value)
    return columns


def _mlm(
    rows: Sequence[dict],
    labels: Sequence[str],
    tokenizer: Any,
    lengths: Lengths,
    reading: Convention,
) -> dict[str, list]:
    encoded = tokenizer(
        [row["text"] for row in rows], truncation=True, max_length=lengths.max_length
    )
    return {
        "ids": encoded["input_ids"],
        "example": list(range(len(rows))),
        "lost": _cut(encoded, lengths.max_length),
    }


def _cut(encoded: Any, cap: int) -> list[int]:
    """Of sequences as long as `cap`, 1 where the tokenizer cut something off; a shorter one is
    whole."""
    return [
        int(len(ids) >= cap and bool(encoded.encodings[at].overflowing))
        for at, ids in enumerate(encoded["input_ids"])
    ]


ENCODERS = {
    "pair": _pair,
    "tagging": _tagging,
    "qa": _qa,
    "retrieval": _retrieval,
    "mining": _sentences,
    "ranking": _ranking,
    "choice": _choice,
    "mlm": _mlm,
}


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Optimiser steps in one pass over the data; the last one may be smaller."""
    return -(-examples // batch_size)


def epoch_batches(
    lengths: NDArray[np.int64], batch_size: int, *, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """The examples of every optimiser step of one epoch, drawn without replacement.

    Shuffled, then sorted by length within pools of 32 steps so that a step's examples are of like
    length, then the steps are shuffled. `lengths` has one entry per example, in tokens."""
    draw = np.random.default_rng([seed, epoch, len(lengths)])
    order = draw.permutation(len(lengths))
    pool = 32 * batch_size
    batches = []
    for at in range(0, len(order), pool):
        part = order[at : at + pool]
        part = part[np.argsort(lengths[part], kind="stable")]
        batches.extend(part[i : i + batch_size] for i in range(0, len(part), batch_size))
    return [batches[i] for i in draw.permutation(len(batches))]


def micro_batches(
    lengths: NDArray[np.int64],
    features: Sequence[int],
    tokens: int,
    *,
    bundles: NDArray[np.int64] | None = None,
) -> list[list[int]]:
    """`units` longest first, cut so that no micro-batch holds more than `tokens` tokens, padding
    included (a single unit may, or bundle: `Units.bundles`). Longest first: where memory is short,
    it is short at once."""
    together: dict[int, list[int]] = {}
    for feature in sorted(features):
        together.setdefault(feature if bundles is None else int(bundles[feature]), []).append(
            feature
        )
    longest = {
        name: max(lengths[feature] for feature in bundle) for name, bundle in together.items()
    }
    found: list[list[int]] = []
    width = 0
    for name in sorted(together, key=lambda name: (-longest[name], together[name][0])):
        if found and (len(found[-1]) + len(together[name])) * width <= tokens:
            found[-1].extend(together[name])
        else:
            found.append(together[name])
            width = longest[name]
    return found


def collate(
    features: Features, chosen: Sequence[int], *, pad: int, seed: int | None = None
) -> dict[str, NDArray]:
    """The chosen units as arrays, [units] or [units, longest]; `mask` is 1 where there is a token.

    What a kind draws anew is drawn from `seed` and the unit itself, whatever its companions; None
    is the drawing of every evaluation."""
    # Decoding reads offsets, which count characters, from the units; what is lost no model reads.
    columns = {
        name: [column[feature] for feature in chosen]
        for name, column in features.columns.items()
        if name not in ("offsets", "lost")
    }
    if features.vocabulary is not None:
        drawn = [masked(ids, features.vocabulary, seed=seed) for ids in columns["ids"]]
        columns["ids"], columns["labels"] = (
            [ids for ids, _ in drawn],
            [labels for _, labels in drawn],
        )
        columns["weight"] = [int((labels != IGNORE).sum()) for labels in columns["labels"]]
    longest = max(len(ids) for ids in columns["ids"])
    batch: dict[str, NDArray] = {"mask": np.zeros((len(chosen), longest), dtype=np.int64)}
    for name, column in columns.items():
        if name == "ids" or name in PER_TOKEN:
            filled = np.full(
                (len(chosen), longest), pad if name == "ids" else PER_TOKEN[name], dtype=np.int64
            )
            for at, values in enumerate(column):
                filled[at, : len(values)] = values
                if name == "ids":
                    batch["mask"][at, : len(values)] = 1
            batch[name] = filled
        else:
            batch[name] = np.array(column, dtype=np.int64)
    return batch


def masked(
    ids: Sequence[int], words: Vocabulary, *, seed: int | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The ids with some turned to `<mask>` or a random token, and the labels: the true token where
    one is guessed, else IGNORE. At least one token is guessed where one is not special."""
    tokens = np.array(ids, dtype="<i8")
    own = int.from_bytes(hashlib.sha256(tokens.tobytes()).digest()[:8], "big")
    draw = np.random.default_rng([own] if seed is None else [own, seed + 1])
    free = np.flatnonzero(~np.isin(tokens, words.special))
    chosen = free[draw.random(len(free)) < MASKED]
    if len(free) and not len(chosen):
        chosen = free[[draw.integers(len(free))]]
    labels = np.full(len(tokens), IGNORE, dtype=np.int64)
    labels[chosen] = tokens[chosen]
    fate = draw.random(len(chosen))
    tokens[chosen[fate < TO_MASK]] = words.mask
    at_random = chosen[fate >= 1 - TO_RANDOM]
    tokens[at_random] = words.draw(len(at_random), draw)
    return tokens, labels
