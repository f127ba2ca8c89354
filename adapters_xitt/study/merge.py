"""Modules put together from stored ones: the weights that a search finds, the tensors, and the
heads they keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from adapters_xitt.data.features import Features
from adapters_xitt.evaluation import predict
from adapters_xitt.evaluation.predict import Inference, Scored
from adapters_xitt.kinds import decoding, heads
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.model.session import ModelSession
from adapters_xitt.modules import composition, merging
from adapters_xitt.modules.composition import Composition, Merge, Scaled, Sum
from adapters_xitt.modules.manifest import Module
from adapters_xitt.modules.methods import from_record
from adapters_xitt.study.costs import SEARCHED
from adapters_xitt.study.jobs import MergedModule
from adapters_xitt.study.memory_plan import SCORING_TOKENS

ROUNDS = 3  # of a search, over all weights
Weights = tuple[float, ...]


@dataclass(frozen=True)
class JoinedModule:
    """A module put together: tensors, its heads as a manifest tells them, and what it is made
    of."""

    tensors: dict[str, Tensor]
    heads: dict[str, dict[str, Any]]
    record: dict[str, Any]


def join(
    job: MergedModule,
    modules: Mapping[str, Module],
    expression: Composition,
    *,
    unmerged: Composition,
    files: EncoderFiles,
) -> JoinedModule:
    """Puts a job's module together; `expression` is the job's over keys, with the weights that a
    search found, `unmerged` the same over the modules that its parts were merged from."""
    parts = {
        key: (module.part("encoder"), from_record(module.manifest.method))
        for key, module in modules.items()
    }
    merge = merging.merge_modules(
        expression, parts, files.layers, files.width, compare_with=unmerged
    )
    tensors = {f"encoder.{name}": value for name, value in merge.tensors.items()}
    kept_heads = {}
    for space in job.spaces:
        owners = [
            key for key in composition.heads(expression) if space in modules[key].manifest.heads
        ]
        kept_heads[space] = modules[owners[0]].manifest.heads[space]
        for name, value in _head(expression, owners, modules, space).items():
            tensors[f"head.{space}.{name}"] = value
    record = {
        "expression": job.title,
        "of": composition.show(unmerged),
        "errors": merge.errors,
        **({"lost": merge.lost} if merge.lost else {}),
    }
    return JoinedModule(tensors, kept_heads, record)


def _head(
    expression: Composition, owners: Sequence[str], modules: Mapping[str, Module], space: str
) -> dict[str, Tensor]:
    """The head of a label space: that of the last part that has one, or the mean of all of them."""
    weights = _head_weights(expression, owners, modules)
    heads = [modules[key].part(f"head.{space}") for key in weights]
    return {
        name: sum(weight * head[name] for weight, head in zip(weights.values(), heads, strict=True))
        for name in heads[0]
    }


def _head_weights(
    expression: Composition, owners: Sequence[str], modules: Mapping[str, Module]
) -> dict[str, float]:
    """The heads that make one: all of a mean's, weighted as it is, where they started alike; else
    the last part's."""
    last = {owners[0]: 1.0}
    if not isinstance(expression, Merge) or expression.how != "mean":
        return last
    keys = [composition.names(part) for part in expression.parts]
    if any(len(part) != 1 for part in keys) or sorted(owners) != sorted(key for (key,) in keys):
        return last
    manifests = [modules[key].manifest for key in owners]
    for manifest in manifests:
        if manifest.source or manifest.merge or manifest.training.get("carry_pooler"):
            return last
    if len({manifest.seed for manifest in manifests}) > 1:
        return last
    weights = {
        key: part.weight if isinstance(part, Scaled) else 1.0
        for (key,), part in zip(keys, expression.parts, strict=True)
    }
    return {key: weights[key] / sum(weights.values()) for key in owners}


@dataclass(frozen=True)
class SelectionSplit:
    """The selection split of a task, as it is on file and encoded."""

    examples: list[dict[str, Any]]
    features: Features


def search(
    job: MergedModule,
    modules: Mapping[str, Module],
    split: SelectionSplit,
    session: ModelSession,
    *,
    tick: Callable[[int], None],
) -> tuple[Composition, dict[str, Any]]:
    """The weighted sum of a job's parts that scores best on the selection split of its target, one
    weight changed at a time, from the last part alone; and the score of every sum that was tried.
    `tick` is told the tokens read."""
    for module in modules.values():
        session.add(module, from_record(module.manifest.method))
    searched = _Search(job, modules, split, session, tick)
    best: Weights = (*[0.0] * (len(searched.parts) - 1), 1.0)
    for _ in range(ROUNDS):
        before = best
        for index in range(len(best)):
            best = searched.best_at(index, best)
        if best == before:
            break
    scores = {
        " ".join(f"{weight:g}" for weight in weights): score
        for weights, score in searched.scores.items()
    }
    metrics = {"score": searched.scores[best], "steps": 0, "weights": list(best), "tried": scores}
    return weighted_sum(searched.parts, best), metrics


class _Search:
    """Scores weighted sums of a job's parts, each once."""

    def __init__(
        self,
        job: MergedModule,
        modules: Mapping[str, Module],
        split: SelectionSplit,
        session: ModelSession,
        tick: Callable[[int], None],
    ) -> None:
        assert isinstance(job.expression, Merge)
        self.parts = [
            part.part if isinstance(part, Scaled) else part for part in job.expression.parts
        ]
        (self.portion,) = job.mixture.portions
        self.split, self.session, self.tick = split, session, tick
        tops = [modules[key] for key in composition.heads(job.expression)]
        self.head = heads.for_task(self.portion.record, tops, session)
        self.scores: dict[Weights, float] = {}

    def best_at(self, index: int, weights: Weights) -> Weights:
        """The best of all weights at one place; the first of equals, so that there is no change
        without a gain."""
        tried = [
            weights,
            *((*weights[:index], weight, *weights[index + 1 :]) for weight in SEARCHED),
        ]
        self._score([new for new in dict.fromkeys(tried) if new not in self.scores])
        return max(tried, key=lambda weights: self.scores[weights])

    def _score(self, tried: Sequence[Weights]) -> None:
        """Scores sums side by side."""
        if not tried:
            return
        adapted, split, task = self.session.adapted, self.split, self.portion.record
        forms = [self.session.setup(weighted_sum(self.parts, weights)) for weights in tried]
        by_sum = predict.outputs(
            [Scored(form, self.head) for form in forms],
            split.features,
            task.kind,
            Inference(
                adapted, self.session.fabric, SCORING_TOKENS, adapted.encoder.layers, self.tick
            ),
        )
        language = self.portion.languages[0]
        for weights, outputs in zip(tried, by_sum, strict=True):
            test = HeadOutputs(task, language, split.examples, split.features, outputs)
            self.scores[weights] = decoding.decode(test).scores[task.main_score]


def weighted_sum(parts: Sequence[Composition], weights: Weights) -> Composition:
    """Σ wᵢ·partᵢ, none left out."""
    terms = [composition.scale(part, weight) for part, weight in zip(parts, weights, strict=True)]
    return composition.chain(Sum, terms)
