"""A span of a context that answers a question: windows over the context, a layer that points at the
start and the end, and the best spans over all windows of a question."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from adapters_xitt.data import truncation
from adapters_xitt.data.features import Features, Lengths
from adapters_xitt.kinds.record import Batch, Decoded, HeadOutputs, Kind
from adapters_xitt.kinds.softmax import sigmoid, softmax
from adapters_xitt.kinds.tagging import TokenHead, token_size
from adapters_xitt.tasks import Convention
from adapters_xitt.tasks.conventions import BEST_OF_ALL
from adapters_xitt.tasks.kinds import Examples

NO_SPAN = "empty"  # the answer where no span is left, as transformers' squad_metrics gives it
BEST, LONGEST = 20, 30  # starts and ends that are paired, tokens in an answer: SQuAD's own script
KEPT = 5  # candidate answers kept with their probabilities
UNREACHABLE = "first answers that no window holds whole"

Span = tuple[int, int]  # first character and the one after the last; (-1, -1): no context
# token ids of a window, and the characters of each context token ((0, 0) for the others)
Window = tuple[list[int], list[Span]]


# -- from examples to features ---------------------------------------------------------------------


def encode(
    examples: Examples, tokenizer: Any, lengths: Lengths, reading: Convention
) -> dict[str, list]:
    """Windows over the context after the question. `open` marks the context tokens for which this
    window gives the most context (SQuAD's is_max_context); `offsets` are character spans of the
    context, blanks at the edges cut."""
    names = ("ids", "example", "weight", "start", "end", "lost", "offsets")
    columns: dict[str, list] = {name: [] for name in names}
    questions = [_clip(example["question"], tokenizer, lengths.question) for example in examples]
    windows_of = _windows(examples, questions, tokenizer, lengths)
    for index, (example, windows) in enumerate(zip(examples, windows_of, strict=True)):
        clipped = int(questions[index] != example["question"].strip())
        for ids, offsets in windows:
            spans = [_trim(example["context"], *span) for span in offsets]
            start, end = _target(spans, example["answers"])
            feature = (ids, index, 1, start, end, clipped, spans)
            for name, value in zip(names, feature, strict=True):
                columns[name].append(value)
    columns["open"] = _most_context(columns["offsets"], columns["example"])
    return columns


def _windows(
    examples: Examples, questions: Sequence[str], tokenizer: Any, lengths: Lengths
) -> list[list[Window]]:
    """The windows of every example."""
    sizes = [len(ids) for ids in tokenizer(questions, add_special_tokens=False)["input_ids"]]
    windows: list[list[Window]] = [[] for _ in examples]
    # tokenizers want the overlap, which is the room for context less the stride
    for size in sorted(set(sizes)):
        room = lengths.max_length - size - 4
        chosen = [index for index, other in enumerate(sizes) if other == size]
        encoded = tokenizer(
            [questions[index] for index in chosen],
            [examples[index]["context"] for index in chosen],
            truncation="only_second",
            max_length=lengths.max_length,
            stride=max(room - lengths.stride, 0),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        for window, place in enumerate(encoded["overflow_to_sample_mapping"]):
            offsets, sequences = encoded["offset_mapping"][window], encoded.sequence_ids(window)
            spans = [
                span if sequence == 1 else (0, 0)
                for span, sequence in zip(offsets, sequences, strict=True)
            ]
            windows[chosen[place]].append((encoded["input_ids"][window], spans))
    return windows


def _clip(question: str, tokenizer: Any, most: int) -> str:
    """The first `most` tokens of a question, as text; blanks at its start would become tokens."""
    question = question.strip()
    encoded = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
    spans = encoded["offset_mapping"]
    return question if len(spans) <= most else question[: spans[most - 1][1]]


def _trim(text: str, start: int, end: int) -> Span:
    """A span without the blanks at its edges; (-1, -1) where nothing is left."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return (start, end) if start < end else (-1, -1)


def _target(spans: Sequence[Span], answers: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """First and last token of the first answer; (0, 0), the `<s>`, where it is not whole in this
    window."""
    if not answers:
        return 0, 0
    start = answers[0]["start"]
    end = start + len(answers[0]["text"])
    inside = [
        token
        for token, (left, right) in enumerate(spans)
        if left >= 0 and left < end and right > start
    ]
    if not inside or spans[inside[0]][0] > start or spans[inside[-1]][1] < end:
        return 0, 0
    return inside[0], inside[-1]


def _most_context(offsets: Sequence[Sequence[Span]], examples: Sequence[int]) -> list[list[int]]:
    """1 for a context token in the window where min(left context, right context) + length/100 is
    greatest."""
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for feature, spans in enumerate(offsets):
        inside = [left for left, _ in spans if left >= 0]
        for rank, left in enumerate(inside):
            score = min(rank, len(inside) - 1 - rank) + 0.01 * len(inside)
            token = (examples[feature], left)
            if token not in best or score > best[token][0]:
                best[token] = (score, feature)
    return [
        [int(left >= 0 and best[examples[feature], left][1] == feature) for left, _ in spans]
        for feature, spans in enumerate(offsets)
    ]


def caps(lengths: Lengths) -> dict[str, int]:
    """All three; windows further apart than they are long are one."""
    return {**lengths.record(), "stride": min(lengths.stride, max(lengths.max_length - 4, 0))}


def cuts(examples: Examples, features: Features) -> dict[str, int]:
    """The questions that lost their end, and the answers that stand in no window."""
    reached = set(features.columns["example"][features.columns["end"] > 0].tolist())
    answered = [index for index, example in enumerate(examples) if example["answers"]]
    return {
        "questions lost their end": truncation.examples_cut(features),
        UNREACHABLE: len([index for index in answered if index not in reached]),
    }


# -- the head --------------------------------------------------------------------------------------


def loss(logits: Tensor, batch: Batch) -> Tensor:
    """Mean of the start's and the end's cross-entropy, over the tokens of the window."""
    scores = logits.float().masked_fill(batch["mask"][..., None] == 0, float("-inf"))
    start = functional.cross_entropy(scores[..., 0], batch["start"], reduction="sum")
    end = functional.cross_entropy(scores[..., 1], batch["end"], reduction="sum")
    return (start + end) / 2


def predict(logits: Tensor, batch: Batch) -> list[NDArray]:
    """By feature: start and end logits [2, tokens]."""
    scores, lengths = logits.float().cpu().numpy(), batch["mask"].sum(1).cpu().numpy()
    return [
        np.ascontiguousarray(of_tokens[:length].T)
        for of_tokens, length in zip(scores, lengths, strict=True)
    ]


# -- from its outputs to predictions ---------------------------------------------------------------


def decode(test: HeadOutputs) -> Decoded:
    """The best spans over all windows of a question; their probability is a softmax over the `BEST`
    best. Where no span is left, the answer is `NO_SPAN`, with score 0. Where questions may have no
    answer, `<s>` to `<s>` says so: none is given where its least score over the windows is above
    the best span's (SQuAD v2.0's script, threshold 0)."""
    items: list[dict[str, Any]] = []
    probabilities = np.zeros((len(test.examples), KEPT), dtype=np.float32)
    for index, (example, features) in enumerate(
        zip(test.examples, test.features.of_examples(), strict=True)
    ):
        candidates = [span for feature in features for span in _candidates(test, feature)]
        best = sorted(candidates, key=lambda span: -span[0])[:BEST]
        texts = _texts(example["context"], best)
        probabilities[index, : len(texts)] = [probability for _, probability in texts]
        first = example["context"][best[0][1] : best[0][2]] if best else NO_SPAN
        item = {
            "id": example["id"],
            "text": first,
            "gold": [answer["text"] for answer in example["answers"]],
            "candidates": [text for text, _ in texts],
        }
        if test.task.unanswerable:
            margin = _null_score(test, features) - (best[0][0] if best else 0.0)
            item |= {"text": "" if margin > 0 else first, "no_answer": sigmoid(margin)}
        items.append(item)
    references = [_reference(example) for example in test.examples]
    return Decoded(
        items, {"probabilities": probabilities}, [_prediction(item) for item in items], references
    )


def _texts(context: str, spans: Sequence[tuple[float, int, int]]) -> list[tuple[str, float]]:
    """The `KEPT` likeliest texts of spans, and their probabilities."""
    shares = softmax(np.array([score for score, _, _ in spans] or [0.0]))
    texts: dict[str, float] = {}
    for (_, start, end), share in zip(spans, shares, strict=False):
        text = context[start:end]
        texts[text] = texts.get(text, 0.0) + float(share)
    return sorted(texts.items(), key=lambda pair: -pair[1])[:KEPT]


def _null_score(test: HeadOutputs, features: NDArray[np.int64]) -> float:
    """The least score of `<s>` to `<s>` over the windows of a question."""
    pairs = [test.outputs[feature] for feature in features]
    return min(float(start[0]) + float(end[0]) for start, end in pairs)


def _prediction(item: Mapping[str, Any]) -> dict[str, Any]:
    prediction = {"id": item["id"], "prediction_text": item["text"]}
    if "no_answer" in item:
        prediction["no_answer_probability"] = item["no_answer"]
    return prediction


def _reference(example: Mapping[str, Any]) -> dict[str, Any]:
    answers = {
        "text": [answer["text"] for answer in example["answers"]],
        "answer_start": [answer["start"] for answer in example["answers"]],
    }
    return {"id": example["id"], "answers": answers}


def _candidates(test: HeadOutputs, feature: int) -> Iterator[tuple[float, int, int]]:
    """Score and characters of the candidate answers of one window: the `BEST` starts and ends,
    paired."""
    logits, columns = test.outputs[feature], test.features.columns
    offsets = columns["offsets"][feature]
    opened, inside = columns["open"][feature] > 0, offsets[:, 0] >= 0
    among_all = (test.features.reading or BEST_OF_ALL).best_of == "all"
    starts = _best(logits[0], inside & opened, among_all=among_all)
    ends = _best(logits[1], inside, among_all=among_all)
    first, last = np.meshgrid(starts, ends, indexing="ij")
    fits = (last >= first) & (last - first < LONGEST)
    for start, end in zip(first[fits].tolist(), last[fits].tolist(), strict=True):
        score = float(logits[0][start]) + float(logits[1][end])
        yield score, int(offsets[start, 0]), int(offsets[end, 1])


def _best(logits: NDArray, allowed: NDArray, *, among_all: bool) -> NDArray:
    """The tokens of the `BEST` greatest logits, the greatest first, that are allowed: of all, or
    among the allowed."""
    tokens = np.arange(len(logits)) if among_all else np.flatnonzero(allowed)
    best = tokens[np.argsort(-logits[tokens], kind="stable")][:BEST]
    return best[allowed[best]]


# -- controls --------------------------------------------------------------------------------------


def permute(examples: Examples, seed: int) -> list[dict[str, Any]]:
    """A question gets a span of its answer's length anywhere in its context."""
    random = np.random.default_rng(seed)
    permuted = []
    for example in examples:
        context = example["context"]
        answers = [_other_span(context, answer, random) for answer in example["answers"]]
        permuted.append({**example, "answers": answers})
    return permuted


def _other_span(
    context: str, answer: Mapping[str, Any], random: np.random.Generator
) -> dict[str, Any]:
    """A span of as many words as the answer, anywhere in the context."""
    words = list(re.finditer(r"\S+", context))
    length = min(max(len(answer["text"].split()), 1), len(words))
    first = int(random.integers(len(words) - length + 1))
    start, end = words[first].start(), words[first + length - 1].end()
    return {"text": context[start:end], "start": start}


KIND = Kind(
    name="qa",
    columns=("question", "context", "answers"),
    lengths=Lengths(384, 128, 64),
    encode=encode,
    head=lambda encoder, labels: TokenHead(encoder.width, 2),
    size=lambda width, labels: token_size(width, 2),
    loss=loss,
    predict=predict,
    decode=decode,
    scoring="SQuAD v1.1 on characters",
    scoring_by={
        "mlqa": "MLQA's own normalisation, spans on characters",
        "squad2": "SQuAD v2.0, null at threshold 0, spans on characters",
    },
    named_reading="spans {name}",
    caps=caps,
    cuts=cuts,
    permute=permute,
)
