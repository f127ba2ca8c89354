"""What a head said, made into predictions and scored: by kind of task."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from adapters_xitt.data.exposure import item_id, raw_id
from adapters_xitt.data.features import Features
from adapters_xitt.errors import XittError
from adapters_xitt.kinds.nearest import both_ways, nearest, unit_length
from adapters_xitt.metrics import METRICS
from adapters_xitt.metrics.mining import Neighbours, above, fit_threshold, mine
from adapters_xitt.tasks import Task
from adapters_xitt.tasks.record import BEST_OF_ALL

NO_SPAN = "empty"  # the answer where no span is left, as transformers' squad_metrics gives it
BEST, LONGEST = 20, 30  # starts and ends that are paired, tokens in an answer: SQuAD's own script
NEIGHBOURS = 4  # that a margin is measured against (XTREME)
RANKED = 20  # candidates that a query's ranking has: XTREME-R's metrics look no further
KEPT = 5  # candidate answers and neighbours kept with their probabilities


@dataclass(frozen=True)
class Said:
    """The rows of a test in one language, encoded, and what a head said of each unit; `fit` is
    another split that a threshold is fitted on."""

    task: Task
    language: str
    rows: Sequence[Mapping[str, Any]]
    features: Features
    said: Sequence[NDArray]
    fit: Said | None = None


@dataclass(frozen=True)
class Predictions:
    """What a composition says of the rows of a test: `items` by row, plain JSON; `arrays` with the
    probabilities."""

    items: list[dict[str, Any]]
    arrays: dict[str, NDArray] = field(repr=False)
    scores: dict[str, float]


def decode(test: Said) -> Predictions:
    """Predictions and scores from what a head said of a test."""
    items, arrays, predictions, references = _DECODERS[test.task.kind](test)
    scores = METRICS[test.task.metric](language=test.language).score(predictions, references)
    return Predictions(items, arrays, {name: float(value) for name, value in scores.items()})


def _pair(test: Said) -> tuple:
    probabilities = np.stack(test.said)
    chosen = probabilities.argmax(1).tolist()
    items = [
        {"id": row["id"], "label": test.task.labels[label], "gold": test.task.labels[row["label"]]}
        for row, label in zip(test.rows, chosen, strict=True)
    ]
    return items, {"probabilities": probabilities}, chosen, [row["label"] for row in test.rows]


def _tagging(test: Said) -> tuple:
    """Windows of a sentence are joined again; every word has one prediction."""
    by_example = test.features.of_examples()
    per_row = [
        np.concatenate([test.said[feature] for feature in by_example[at]])
        for at in range(len(test.rows))
    ]
    predicted = [[test.task.labels[label] for label in words.argmax(1)] for words in per_row]
    gold = [test.task.names(row["tags"]) for row in test.rows]
    items = [
        {"id": row["id"], "tags": tags, "gold": true}
        for row, tags, true in zip(test.rows, predicted, gold, strict=True)
    ]
    sizes = np.array([len(words) for words in per_row], dtype=np.int64)
    return items, {"probabilities": np.concatenate(per_row), "words": sizes}, predicted, gold


def _qa(test: Said) -> tuple:
    """The best spans over all windows of a question; their probability is a softmax over the `BEST`
    best. Where no span is left, the answer is `NO_SPAN`, with score 0. Where questions may have no
    answer, `<s>` to `<s>` says so: none is given where its least score over the windows is above
    the best span's (SQuAD v2.0's script, threshold 0)."""
    items, table = [], np.zeros((len(test.rows), KEPT), dtype=np.float32)
    by_example = test.features.of_examples()
    for at, row in enumerate(test.rows):
        spans = [
            span
            for feature in by_example[at]
            for span in _spans(test.said[feature], test.features, feature)
        ]
        spans = sorted(spans, key=lambda span: -span[0])[:BEST]
        texts: dict[str, float] = {}
        scores = np.array([span[0] for span in spans] or [0.0])
        for (_, start, end), share in zip(spans, _softmax(scores), strict=False):
            text = row["context"][start:end]
            texts[text] = texts.get(text, 0.0) + float(share)
        best = sorted(texts.items(), key=lambda pair: -pair[1])[:KEPT]
        first = row["context"][spans[0][1] : spans[0][2]] if spans else NO_SPAN
        table[at, : len(best)] = [share for _, share in best]
        item = {
            "id": row["id"],
            "text": first,
            "gold": [answer["text"] for answer in row["answers"]],
            "candidates": [text for text, _ in best],
        }
        if test.task.unanswerable:
            null = min(
                float(test.said[feature][0][0]) + float(test.said[feature][1][0])
                for feature in by_example[at]
            )
            margin = null - (spans[0][0] if spans else 0.0)
            item |= {"text": "" if margin > 0 else first, "no_answer": _sigmoid(margin)}
        items.append(item)
    predictions = [
        {
            "id": item["id"],
            "prediction_text": item["text"],
            **({"no_answer_probability": item["no_answer"]} if test.task.unanswerable else {}),
        }
        for item in items
    ]
    references = [
        {
            "id": row["id"],
            "answers": {
                "text": [answer["text"] for answer in row["answers"]],
                "answer_start": [answer["start"] for answer in row["answers"]],
            },
        }
        for row in test.rows
    ]
    return items, {"probabilities": table}, predictions, references


def _spans(logits: NDArray, features: Features, feature: int) -> list[tuple[float, int, int]]:
    """Score and character span of the candidate answers of one window: the `BEST` starts and ends,
    paired."""
    offsets, opened = (
        features.columns["offsets"][feature],
        np.array(features.columns["open"][feature], dtype=bool),
    )
    inside = np.array([left >= 0 for left, _ in offsets])
    among_all = (features.reading or BEST_OF_ALL).best_of == "all"
    starts = _best(logits[0], inside & opened, among_all=among_all)
    ends = _best(logits[1], inside, among_all=among_all)
    first, last = np.meshgrid(starts, ends, indexing="ij")
    fits = (last >= first) & (last - first < LONGEST)
    return [
        (float(logits[0][start]) + float(logits[1][end]), offsets[start][0], offsets[end][1])
        for start, end in zip(first[fits].tolist(), last[fits].tolist(), strict=True)
    ]


def _best(logits: NDArray, allowed: NDArray, *, among_all: bool) -> NDArray:
    """The places of the `BEST` greatest logits, the greatest first, that are allowed: of all, or
    among the allowed."""
    places = np.arange(len(logits)) if among_all else np.flatnonzero(allowed)
    best = places[np.argsort(-logits[places], kind="stable")][:BEST]
    return best[allowed[best]]


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value > -700 else 0.0


def _softmax(scores: NDArray) -> NDArray:
    shifted = np.exp(scores - scores.max())
    return shifted / shifted.sum()


def _retrieval(test: Said) -> tuple:
    """For every query the candidate of greatest cosine; the cosines of the nearest are kept."""
    vectors = unit_length(np.stack(test.said))
    cosines, places = nearest(vectors[: len(test.rows)], vectors[len(test.rows) :], KEPT)
    chosen = places[:, 0].tolist()
    items = [
        {"id": row["id"], "index": index, "gold": row["gold"]}
        for row, index in zip(test.rows, chosen, strict=True)
    ]
    arrays = {"neighbours": places.numpy(), "cosines": cosines.numpy()}
    return items, arrays, chosen, [row["gold"] for row in test.rows]


def _sides(test: Said) -> tuple[list[int], list[int], Tensor]:
    """The places of the queries and of the candidates among the rows, and every row's vector of
    length one."""
    sides = [
        [at for at, row in enumerate(test.rows) if row["side"] == side]
        for side in ("query", "candidate")
    ]
    bare = next((at for at in sides[0] if test.rows[at]["gold"] is None), None)
    if bare is not None:
        raise _unlabelled(test.task, test.rows[bare])
    return sides[0], sides[1], unit_length(np.stack(test.said))


def _ranking(test: Said) -> tuple:
    """For every query the ids of the `RANKED` candidates of greatest cosine."""
    queries, candidates, vectors = _sides(test)
    cosines, places = nearest(vectors[queries], vectors[candidates], RANKED)
    names = [raw_id(test.task, test.language, test.rows[at]["id"]) for at in candidates]
    ranked = [[names[place] for place in row] for row in places.tolist()]
    items = [
        {"id": test.rows[at]["id"], "ids": ids, "gold": test.rows[at]["gold"]}
        for at, ids in zip(queries, ranked, strict=True)
    ]
    return items, {"cosines": cosines.numpy()}, ranked, [item["gold"] for item in items]


def _mining(test: Said) -> tuple:
    """The pairs above the threshold that is best on the split it is fitted on; their margins are
    kept."""
    (pairs, scores, gold), (known, known_scores, truth) = _mined(test), _mined(test.fit)
    threshold = fit_threshold(known, known_scores, truth)
    kept = above(pairs, scores, threshold)
    items = [
        {"id": item_id(test.task, test.language, source), "target": target}
        for source, target in kept
    ]
    margins = [score for score in scores if score >= threshold]
    arrays = {"margins": np.array(margins), "threshold": np.array([threshold])}
    return items, arrays, kept, gold


def _mined(test: Said) -> tuple[list[tuple[str, str]], list[float], list[tuple[str, str]]]:
    """Mined pairs of ids, their margins, and the gold pairs.

    As XTREME's code does it: a sentence that is repeated is mined once, and a pair that it is in is
    then deleted, since it has no one id (`mine_bitext` and `read_sent2id` in
    third_party/utils_retrieve.py)."""
    names = [raw_id(test.task, test.language, row["id"]) for row in test.rows]
    queries, candidates, vectors = _sides(test)
    gold = [(names[at], target) for at in queries for target in test.rows[at]["gold"]]
    sides = [[test.rows[at]["text"] for at in side] for side in (queries, candidates)]
    repeated = [{text for text, count in Counter(side).items() if count > 1} for side in sides]
    queries, candidates = (
        list(dict(zip(reversed(texts), reversed(side), strict=True)).values())[::-1]
        for texts, side in zip(sides, (queries, candidates), strict=True)
    )
    ways = both_ways(vectors[queries], vectors[candidates], NEIGHBOURS)
    pairs, margins = mine(
        *(Neighbours(cosines.numpy(), places.numpy()) for cosines, places in ways)
    )
    mined, scores = [], []
    for (query, candidate), margin in zip(pairs, margins.tolist(), strict=True):
        source, target = queries[query], candidates[candidate]
        if (
            test.rows[source]["text"] not in repeated[0]
            and test.rows[target]["text"] not in repeated[1]
        ):
            mined.append((names[source], names[target]))
            scores.append(margin)
    return mined, scores, gold


def _choice(test: Said) -> tuple:
    """Probabilities over the choices of each item, one item after another; `choices` counts
    them."""
    by_example = test.features.of_examples()
    shares = [
        _softmax(np.concatenate([test.said[feature] for feature in by_example[at]]))
        for at in range(len(test.rows))
    ]
    chosen, gold = (
        [int(share.argmax()) for share in shares],
        [_gold(test.task, row) for row in test.rows],
    )
    items = [
        {"id": row["id"], "label": label, "gold": true}
        for row, label, true in zip(test.rows, chosen, gold, strict=True)
    ]
    sizes = np.array([len(share) for share in shares], dtype=np.int64)
    return items, {"probabilities": np.concatenate(shares), "choices": sizes}, chosen, gold


def _gold(task: Task, row: Mapping) -> int:
    """The index of the right choice."""
    if row["label"] is None:
        raise _unlabelled(task, row)
    return row["label"]


def _unlabelled(task: Task, row: Mapping) -> XittError:
    return XittError(
        f"task {task.name}: item {row['id']} has no label to be scored by; name a file with labels "
        f"under tasks.{task.name}.files, or their own file under gold"
    )


def _mlm(test: Said) -> tuple:
    """Per row how many tokens were guessed, how many rightly, and the log-likelihood of the gold
    ones in nats; the arrays have the tokens, one row after another, and `tokens` counts them."""
    table = np.concatenate(test.said)
    hits = table[:, 1] == table[:, 2]
    sizes = np.array([len(found) for found in test.said], dtype=np.int64)
    items = [
        {
            "id": row["id"],
            "tokens": len(found),
            "hits": int((found[:, 1] == found[:, 2]).sum()),
            "log_likelihood": float(found[:, 0].sum()),
        }
        for row, found in zip(test.rows, test.said, strict=True)
    ]
    predictions = [{"token": int(token), "log_probability": float(log)} for log, token, _ in table]
    arrays = {
        "log_probabilities": table[:, 0].astype(np.float32),
        "hits": hits.astype(np.uint8),
        "tokens": sizes,
    }
    return items, arrays, predictions, table[:, 2].astype(np.int64).tolist()


_DECODERS = {
    "pair": _pair,
    "tagging": _tagging,
    "qa": _qa,
    "retrieval": _retrieval,
    "ranking": _ranking,
    "mining": _mining,
    "choice": _choice,
    "mlm": _mlm,
}


def majority(
    task: Task, train_rows: Sequence[Mapping], test_rows: Sequence[Mapping], *, language: str = "en"
) -> float | None:
    """The headline score of always saying the training data's commonest label, or index; None for
    kinds without."""
    if task.kind in ("pair", "choice"):
        labels = [_gold(task, row) for row in train_rows]
        said = [max(sorted(set(labels)), key=labels.count)] * len(test_rows)
        gold: list = [_gold(task, row) for row in test_rows]
    elif task.kind == "tagging":
        tags = [tag for row in train_rows for tag in row["tags"]]
        top = task.labels[int(np.bincount(tags).argmax())]
        said = [[top] * len(row["words"]) for row in test_rows]
        gold = [task.names(row["tags"]) for row in test_rows]
    else:
        return None
    return float(METRICS[task.metric](language=language).score(said, gold)[task.headline])
