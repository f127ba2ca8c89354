"""The record in which a kind of task says all that it needs, and the values its functions take and
give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray
from torch import Tensor, nn

from adapters_xitt.data import truncation
from adapters_xitt.data.features import Features, Lengths
from adapters_xitt.errors import XittError
from adapters_xitt.model.encoder import Encoder
from adapters_xitt.tasks import Convention, Task
from adapters_xitt.tasks.kinds import KINDS, Examples, KindFacts

Batch = Mapping[str, Tensor]


@dataclass(frozen=True)
class HeadOutputs:
    """The examples of one split in one language, encoded, and what a head outputs for each feature;
    `fit` is another split that a threshold is fitted on."""

    task: Task
    language: str
    examples: Examples
    features: Features
    outputs: Sequence[NDArray]
    fit: HeadOutputs | None = None


@dataclass(frozen=True)
class Predictions:
    """What a composition predicts for the examples of a test: `items` by example, plain JSON;
    `arrays` with the probabilities."""

    items: list[dict[str, Any]]
    arrays: dict[str, NDArray] = field(repr=False)
    scores: dict[str, float]


class Decoded(NamedTuple):
    """The items and arrays of predictions, and what the metric takes."""

    items: list[dict[str, Any]]
    arrays: dict[str, NDArray]
    predictions: Sequence[Any]
    references: Sequence[Any]


class Majority(NamedTuple):
    """Always the commonest label of the training data, as a metric takes it, and the references."""

    predictions: Sequence[Any]
    references: Sequence[Any]


def one_cap(lengths: Lengths) -> dict[str, int]:
    """The cap of kinds whose examples are one sequence each."""
    return {"max_length": lengths.max_length}


def lost_ends(examples: Examples, features: Features) -> dict[str, int]:
    """The examples that lost their end."""
    return {truncation.END: truncation.examples_cut(features)}


def no_loss(logits: Tensor, batch: Batch) -> Tensor:
    """Of kinds that train nothing."""
    raise ValueError("a head without parameters has no loss")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of task: from an example to features, a head's outputs, predictions and scores.

    What has no default every kind must say; so must its row in `tasks/kinds.py`, which holds what
    is known without torch (`facts`)."""

    name: str  # its row in `tasks/kinds.py`, and its file here
    columns: tuple[str, ...]  # of an example, that encoding reads
    lengths: Lengths  # caps, where neither the task nor a recipe says others
    # the columns of features: `ids` [tokens], `example`, `lost`, `weight` (where nothing is masked)
    # and what loss and decoding read: whole numbers by token, any by feature
    encode: Callable[[Examples, Any, Lengths, Convention], dict[str, list]]
    # a fresh head above an encoder, for so many labels: called with hidden states [features,
    # tokens, width] and the batch
    head: Callable[[Encoder, int], nn.Module]
    size: Callable[[int, int], int]  # parameters of the head: of the encoder's width and labels
    # summed over features; the caller divides by the weight of the whole effective batch
    loss: Callable[[Tensor, Batch], Tensor] = no_loss
    predict: Callable[[Tensor, Batch], list[NDArray]]  # the head's outputs for each feature
    decode: Callable[[HeadOutputs], Decoded]
    # how it is scored, where sources disagree; and by metric, where one differs
    scoring: str = "plain"
    scoring_by: Mapping[str, str] = field(default_factory=dict)
    named_reading: str = ""  # how the convention that examples are read by is named, with {name}
    # the caps that count, for keys
    caps: Callable[[Lengths], dict[str, int]] = one_cap
    cuts: Callable[[Examples, Features], dict[str, int]] = lost_ends  # what the caps cut off
    # always the commonest label of the first examples, for the second; None: no baseline
    majority: Callable[[Task, Examples, Examples], Majority] | None = None
    # the examples with their labels permuted among them, from a seed
    permute: Callable[[Examples, int], list[dict[str, Any]]] | None = None
    by_example: bool = True  # whether features are in the order of their examples
    masks: bool = False  # whether tokens are masked and guessed, which needs the whole vocabulary
    note: str = ""  # what a plan says of a target of this kind

    @property
    def facts(self) -> KindFacts:
        """What is known of it without its machinery."""
        return KINDS[self.name]

    def truncated(self, examples: Examples, features: Features) -> dict[str, int]:
        """What encoding `examples` into `features` cut off: what it is → how many; empty where
        everything is read."""
        counts = self.cuts(examples, features)
        return {what: count for what, count in counts.items() if count}

    def permuted(self, examples: Examples, *, seed: int) -> list[dict[str, Any]]:
        """The examples with their labels permuted among them: the same texts and steps, nothing to
        learn from."""
        if self.permute is None:
            raise XittError(f"kind {self.name!r} has no labels to permute")
        return self.permute(examples, seed)


def unlabelled(task: Task, example: Mapping[str, Any]) -> XittError:
    """The error of an example that can't be scored."""
    return XittError(
        f"task {task.name}: item {example['id']} has no label to be scored by; name a file with"
        f" labels under tasks.{task.name}.files, or their own file under gold"
    )


def gold_label(task: Task, example: Mapping[str, Any]) -> int:
    """The index of the right label or choice; a XittError where the example has none."""
    if example["label"] is None:
        raise unlabelled(task, example)
    return example["label"]


def commonest_label(task: Task, train: Examples, test: Examples) -> Majority:
    """Of examples with one label each."""
    labels = [gold_label(task, example) for example in train]
    commonest = max(sorted(set(labels)), key=labels.count)
    return Majority(
        [commonest] * len(test),
        [gold_label(task, example) for example in test],
    )
