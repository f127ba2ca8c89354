"""The means by which a recipe is held in memory: what it says itself, or the cheapest that fit the
memory it names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapters_xitt import sizes
from adapters_xitt.data.features import Features
from adapters_xitt.data.mixture import Mixture
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.study.recipe import Recipe
from adapters_xitt.tasks import task
from adapters_xitt.training import memory
from adapters_xitt.training.loop import Settings
from adapters_xitt.training.memory import BASES, MemoryPlan

SCORING_TOKENS = 8192  # tokens of a scoring batch: no graph is kept


def decide(
    inputs: Inputs, mixtures: Sequence[Mixture], targets: Iterable[str]
) -> tuple[MemoryPlan, list[str]]:
    """The means of a recipe, and what is to be said of them; `mixtures` and `targets` are all that
    it reads."""
    recipe = inputs.recipe
    if wrong := conflicts(recipe, mixtures):
        raise XittError(wrong[0])
    methods = [choice.spec for choice, _ in recipe.choices()]
    mlm = _masked(mixtures)
    packs = not any(method.reads_weights for method in methods)
    whole = mlm or any(method.trains_encoder for method in methods)
    if recipe.memory is None:
        default = "whole" if whole or recipe.precision == "32" else "cut"
        return (
            MemoryPlan(
                checkpointing=recipe.checkpointing,
                base=recipe.precision,
                embeddings=recipe.embeddings or default,
                optimizer=recipe.training.optimizer or "32",
                tokens=recipe.training.tokens or Settings().tokens,
            ),
            [],
        )
    return _within(sizes.parse(recipe.memory), inputs, mixtures, targets, packs=packs, mlm=mlm)


def conflicts(recipe: Recipe, mixtures: Sequence[Mixture]) -> list[str]:
    """What a recipe says of memory that can't be held together, before anything is read."""
    methods, found = [choice.spec for choice, _ in recipe.choices()], []
    readers = [method.name for method in methods if method.reads_weights]
    if recipe.precision in ("8bit", "4bit") and readers:
        found.append(
            f"precision {recipe.precision}: {', '.join(readers)}"
            " read or train the encoder's weights, which are packed then; use bf16 or 32"
        )
    if recipe.embeddings in ("cut", "host") and any(method.trains_encoder for method in methods):
        found.append("embeddings: full fine-tuning trains the word table; it must be whole")
    if recipe.embeddings == "cut" and _masked(mixtures):
        found.append(
            "embeddings: cut: masked language modelling needs every row of the word table; use host"
        )
    return found


def _masked(mixtures: Sequence[Mixture]) -> bool:
    return any(KINDS[row.kind].masks for mixed in mixtures for row in mixed.tasks)


def _within(
    budget: int,
    inputs: Inputs,
    mixtures: Sequence[Mixture],
    targets: Iterable[str],
    *,
    packs: bool,
    mlm: bool,
) -> tuple[MemoryPlan, list[str]]:
    """The cheapest means with which every method of the recipe fits."""
    recipe = inputs.recipe
    tokens = recipe.training.tokens or Settings().tokens
    names = [row.name for mixed in mixtures for row in mixed.tasks] or list(targets)
    length = max(inputs.lengths(name).max_length for name in names)
    bases = [base for base in BASES if packs or base not in ("8bit", "4bit")]
    vocabulary = None if mlm else len(ids_of(features_read(inputs, mixtures, targets)))
    found: list[tuple[int, MemoryPlan, list[str]]] = []
    for choice, _ in recipe.choices():
        if choice.spec.engine == "head":
            continue
        fuses = "fuse" in recipe.modes and not choice.spec.refusal("fuse")
        means, lines = memory.choose(
            budget,
            inputs.files,
            choice,
            tokens=tokens,
            vocabulary=vocabulary,
            bases=bases,
            mlm=mlm,
            least=min(tokens, max(length, memory.LEAST)),
            length=min(length, tokens),
            dropout=recipe.training.dropout,
            parts=_parts(recipe) if fuses else 0,
        )
        found.append((len(lines), means, [f"memory, {choice.label}: {line}" for line in lines]))
    if not found:
        raise XittError(
            f"memory {recipe.memory}: the head alone trains nothing in the encoder; leave the"
            " key out"
        )
    # further down the same ladder fits the others too
    _, means, lines = max(found, key=lambda one: one[0])
    # at their own means the others leave no more
    room = min(one.room for _, one, _ in found if one.room is not None)
    return replace(means, room=room), [
        *lines,
        (
            "memory: modules side by side, moments and heads too, take "
            f"{sizes.show(room)} at most: narrower cohorts, scoring in parts"
        ),
    ]


def _parts(recipe: Recipe) -> int:
    """The modules that a fusion of the recipe is over: every intermediate's and the target's
    own."""
    return 1 + sum(
        bool(mixed.portions) and not any(part.variant for part in mixed.portions)
        for mixed in recipe.mixtures()
    )


def features_read(
    inputs: Inputs, mixtures: Sequence[Mixture], targets: Iterable[str]
) -> list[Features]:
    """Everything that the encoder will read: training, selection and test units."""
    found = [
        features
        for mixed in mixtures
        for one in inputs.data(mixed)
        for features in (one.train, one.selection)
    ]
    for name in targets:
        for language in inputs.recipe.tested(task(name)):
            found += [inputs.features(rows) for rows in inputs.tested(name, language)]
    return found


def ids_of(features: Iterable[Features]) -> NDArray[np.int64]:
    """The distinct token ids, rising."""
    found: set[int] = set()
    for one in features:
        found.update(*one.columns["ids"])
    return np.array(sorted(found), dtype=np.int64)


def loading(means: MemoryPlan, features: Any) -> dict[str, Any]:
    """The keywords of `encoder.load`; `units` gives what will be read where the word table is cut
    to it."""
    ids = {"ids": torch.from_numpy(ids_of(features()))} if means.embeddings == "cut" else {}
    return {**means.loading(), **ids}
