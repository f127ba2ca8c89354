"""A cohort of compositions scored on the same units: batch by batch over a shared trunk, then decoded and measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from adapters_xitt.batches import Units, collate, micro_batches
from adapters_xitt.errors import XittError
from adapters_xitt.heads import HEADS
from adapters_xitt.lower import Lowered
from adapters_xitt.metrics import METRICS
from adapters_xitt.rig import Rig
from adapters_xitt.tasks import Task

BEST, LONGEST = 20, 30  # starts and ends that are paired, tokens in an answer: SQuAD's own script
KEPT = 5  # candidate answers and neighbours kept with their probabilities


class Attention:
    """What a fusion gives each of its parts: the mean over tokens of every layer, bottleneck by bottleneck."""

    def __init__(self) -> None:
        self.total: dict[int, list[NDArray]] = {}
        self.tokens = 0

    def add(self, found: Mapping[int, Sequence[Any]], mask: NDArray) -> None:
        """Adds a batch: layer → arrays [units, tokens, parts], one for each bottleneck of the layer."""
        self.tokens += int(mask.sum())
        for layer, arrays in found.items():
            sums = [np.einsum("utp,ut->p", np.asarray(one, dtype=np.float64), mask) for one in arrays]
            self.total[layer] = [a + b for a, b in zip(self.total.get(layer, [0.0] * len(sums)), sums, strict=True)]

    def mean(self) -> list[list[float]]:
        """[bottlenecks from the lowest layer up, parts]; each sums to one."""
        return [(total / self.tokens).tolist() for layer in sorted(self.total) for total in self.total[layer]]


@dataclass(frozen=True)
class Scored:
    """One composition of a cohort and the head above it; `attention` collects what a fusion attends to."""

    lowered: Lowered
    head: nn.Module
    attention: Attention | None = None


@dataclass(frozen=True)
class Predictions:
    """What a composition says of the rows of a test: `items` by row, plain JSON; `arrays` with the probabilities."""

    items: list[dict[str, Any]]
    arrays: dict[str, NDArray] = field(repr=False)
    scores: dict[str, float]


def layer_of(task: Task, layers: int, layer: int | None = None) -> int:
    """The depth a task reads: the top, or for retrieval 14 of XLM-R Large's 24 layers, in proportion."""
    if task.kind != "retrieval":
        return layers
    return layer if layer is not None else round(layers * 14 / 24)


def convention(task: Task, layers: int, layer: int | None = None) -> str:
    """The name of the choices a score depends on where sources disagree; part of the cell's identity."""
    if task.kind == "retrieval":
        return f"mean over tokens at layer {layer_of(task, layers, layer)} of {layers}, cosine"
    return {"tagging": "first sub-token, spans of equal tags", "qa": "SQuAD v1.1 on characters",
            "mlm": "15 % of the tokens, one drawing"}.get(task.kind, "plain")


def trunk_depth(rows: Sequence[Scored], stop: int) -> int:
    """Layers that all compositions share; a fully fine-tuned encoder shares none, its embeddings included."""
    return min([stop, *(row.lowered.depth for row in rows)])


@torch.no_grad()
def say(rig: Rig, rows: Sequence[Scored], units: Units, kind: str, *, fabric: Fabric, tokens: int, stop: int,
        tick: Callable[[int], None] = lambda n: None) -> list[list[NDArray]]:
    """What each composition's head says of each unit, [rows][units]; the trunk runs once per batch, longest first.

    `stop` is the depth that is read, `tick` is told the tokens of every batch, once for each row."""
    found: list[list[Any]] = [[None] * len(units) for _ in rows]
    for row in rows:
        row.head.eval()
    shared = [row for row in rows if not row.lowered.full]
    below = trunk_depth(shared, stop)
    for chosen in micro_batches(units.lengths, range(len(units)), tokens, bundles=units.bundles()):
        arrays = collate(units, chosen, pad=rig.encoder.files.config["pad_token_id"])
        batch = {name: torch.from_numpy(value).to(rig.encoder.device) for name, value in arrays.items()}
        trunk = None
        if shared:
            rig.activate(Lowered((), (), None, below))
            with fabric.autocast():
                trunk = rig.encoder.run(rig.encoder.embed(batch["ids"]), batch["mask"], 0, below)
        for at, row in enumerate(rows):
            rig.activate(row.lowered)
            encoder = rig.encoder_of(row.lowered)
            start, depth = (encoder.embed(batch["ids"]), 0) if row.lowered.full else (trunk, below)
            with fabric.autocast():
                if row.attention is None:
                    hidden = encoder.run(start, batch["mask"], depth, stop)
                else:
                    with encoder.attending() as attended:
                        hidden = encoder.run(start, batch["mask"], depth, stop)
                    row.attention.add(attended, arrays["mask"])
                said = HEADS[kind].say(row.head(hidden, batch), batch)
            for unit, value in zip(chosen, said, strict=True):
                found[at][unit] = value
            tick(int(arrays["mask"].sum()))
    return found


def decode(task: Task, rows: Sequence[Mapping[str, Any]], units: Units, said: Sequence[NDArray]) -> Predictions:
    """Predictions and scores from what a head said of the units of `rows`."""
    items, arrays, predictions, references = _DECODERS[task.kind](task, rows, units, said)
    scores = METRICS[task.metric]().score(predictions, references)
    return Predictions(items, arrays, {name: float(value) for name, value in scores.items()})


def _pair(task: Task, rows: Sequence[Mapping], units: Units, said: Sequence[NDArray]) -> tuple:
    probabilities = np.stack(said)
    chosen = probabilities.argmax(1).tolist()
    items = [{"id": row["id"], "label": task.labels[label], "gold": task.labels[row["label"]]}
             for row, label in zip(rows, chosen, strict=True)]
    return items, {"probabilities": probabilities}, chosen, [row["label"] for row in rows]


def _tagging(task: Task, rows: Sequence[Mapping], units: Units, said: Sequence[NDArray]) -> tuple:
    """Windows of a sentence are joined again; every word has one prediction."""
    by_example = units.of_examples()
    per_row = [np.concatenate([said[unit] for unit in by_example[at]]) for at in range(len(rows))]
    predicted = [[task.labels[label] for label in words.argmax(1)] for words in per_row]
    gold = [task.names(row["tags"]) for row in rows]
    items = [{"id": row["id"], "tags": tags, "gold": true}
             for row, tags, true in zip(rows, predicted, gold, strict=True)]
    sizes = np.array([len(words) for words in per_row], dtype=np.int64)
    return items, {"probabilities": np.concatenate(per_row), "words": sizes}, predicted, gold


def _qa(task: Task, rows: Sequence[Mapping], units: Units, said: Sequence[NDArray]) -> tuple:
    """The best spans over all windows of a question; their probability is a softmax over the `BEST` best."""
    items, table = [], np.zeros((len(rows), KEPT), dtype=np.float32)
    by_example = units.of_examples()
    for at, row in enumerate(rows):
        spans = [span for unit in by_example[at] for span in _spans(said[unit], units, unit)]
        spans = sorted(spans, key=lambda span: -span[0])[:BEST]
        texts: dict[str, float] = {}
        scores = np.array([span[0] for span in spans] or [0.0])
        for (_, start, end), share in zip(spans, _softmax(scores), strict=False):
            text = row["context"][start:end]
            texts[text] = texts.get(text, 0.0) + float(share)
        best = sorted(texts.items(), key=lambda pair: -pair[1])[:KEPT]
        first = row["context"][spans[0][1] : spans[0][2]] if spans else ""
        table[at, : len(best)] = [share for _, share in best]
        items.append({"id": row["id"], "text": first, "gold": [answer["text"] for answer in row["answers"]],
                      "candidates": [text for text, _ in best]})
    predictions = [{"id": item["id"], "prediction_text": item["text"]} for item in items]
    references = [{"id": row["id"], "answers": {"text": [answer["text"] for answer in row["answers"]],
                                                "answer_start": [answer["start"] for answer in row["answers"]]}}
                  for row in rows]
    return items, {"probabilities": table}, predictions, references


def _spans(logits: NDArray, units: Units, unit: int) -> list[tuple[float, int, int]]:
    """Score and character span of the candidate answers of one window."""
    offsets, opened = units.columns["offsets"][unit], np.array(units.columns["open"][unit], dtype=bool)
    inside = np.array([left >= 0 for left, _ in offsets])
    starts = np.flatnonzero(inside & opened)
    ends = np.flatnonzero(inside)
    starts = starts[np.argsort(-logits[0][starts], kind="stable")][:BEST]
    ends = ends[np.argsort(-logits[1][ends], kind="stable")][:BEST]
    first, last = np.meshgrid(starts, ends, indexing="ij")
    fits = (last >= first) & (last - first < LONGEST)
    return [(float(logits[0][start] + logits[1][end]), offsets[start][0], offsets[end][1])
            for start, end in zip(first[fits].tolist(), last[fits].tolist(), strict=True)]


def _softmax(scores: NDArray) -> NDArray:
    shifted = np.exp(scores - scores.max())
    return shifted / shifted.sum()


def _retrieval(task: Task, rows: Sequence[Mapping], units: Units, said: Sequence[NDArray]) -> tuple:
    """For every query the candidate of greatest cosine; the cosines of the nearest are kept."""
    vectors = np.stack(said).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    cosines = vectors[: len(rows)] @ vectors[len(rows) :].T
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :KEPT]
    chosen = nearest[:, 0].tolist()
    items = [{"id": row["id"], "index": index, "gold": row["gold"]} for row, index in zip(rows, chosen, strict=True)]
    arrays = {"neighbours": nearest.astype(np.int64), "cosines": np.take_along_axis(cosines, nearest, axis=1)}
    return items, arrays, chosen, [row["gold"] for row in rows]


def _choice(task: Task, rows: Sequence[Mapping], units: Units, said: Sequence[NDArray]) -> tuple:
    """Probabilities over the choices of each item, one item after another; `choices` counts them."""
    by_example = units.of_examples()
    shares = [_softmax(np.concatenate([said[unit] for unit in by_example[at]])) for at in range(len(rows))]
    chosen, gold = [int(share.argmax()) for share in shares], [_gold(task, row) for row in rows]
    items = [{"id": row["id"], "label": label, "gold": true}
             for row, label, true in zip(rows, chosen, gold, strict=True)]
    sizes = np.array([len(share) for share in shares], dtype=np.int64)
    return items, {"probabilities": np.concatenate(shares), "choices": sizes}, chosen, gold


def _gold(task: Task, row: Mapping) -> int:
    """The index of the right choice."""
    if row["label"] is None:
        raise XittError(f"task {task.name}: item {row['id']} has no label to be scored by; name a file with labels "
                        f"under tasks.{task.name}.files, or their own file under gold")
    return row["label"]


def _mlm(task: Task, rows: Sequence[Mapping], units: Units, said: Sequence[NDArray]) -> tuple:
    """Per row how many tokens were guessed, how many rightly, and the log-likelihood of the gold ones in nats; the
    arrays have the tokens, one row after another, and `tokens` counts them."""
    table = np.concatenate(said)
    hits = table[:, 1] == table[:, 2]
    sizes = np.array([len(found) for found in said], dtype=np.int64)
    items = [{"id": row["id"], "tokens": len(found), "hits": int((found[:, 1] == found[:, 2]).sum()),
              "log_likelihood": float(found[:, 0].sum())} for row, found in zip(rows, said, strict=True)]
    predictions = [{"token": int(token), "log_probability": float(log)} for log, token, _ in table]
    arrays = {"log_probabilities": table[:, 0].astype(np.float32), "hits": hits.astype(np.uint8), "tokens": sizes}
    return items, arrays, predictions, table[:, 2].astype(np.int64).tolist()


_DECODERS = {"pair": _pair, "tagging": _tagging, "qa": _qa, "retrieval": _retrieval, "choice": _choice, "mlm": _mlm}


def majority(task: Task, train_rows: Sequence[Mapping], test_rows: Sequence[Mapping]) -> float | None:
    """The headline score of always saying the training data's commonest label, or index; None for kinds without."""
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
    return float(METRICS[task.metric]().score(said, gold)[task.headline])
