"""How a recipe is held in memory: as it says itself, or the cheapest way that fits the memory it
names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
from adapters_xitt.training.memory import BASES, MemoryPlan
from adapters_xitt.training.settings import Settings

SCORING_TOKENS = 8192  # tokens of a scoring batch: no graph is kept


def decide(
    inputs: Inputs, mixtures: Sequence[Mixture], targets: Iterable[str]
) -> tuple[MemoryPlan, list[str]]:
    """The memory plan of a recipe, and what is to be noted of it; `mixtures` and `targets` are all
    that it reads."""
    recipe = inputs.recipe
    if problems := conflicts(recipe, mixtures):
        raise XittError(problems[0])
    if recipe.memory is not None:
        return _within(sizes.parse(recipe.memory), inputs, mixtures, targets)
    full = any(method.spec.trains_encoder for method, _ in recipe.choices())
    whole = _masked(mixtures) or full or recipe.precision == "32"
    return (
        MemoryPlan(
            checkpointing=recipe.checkpointing,
            base=recipe.precision,
            embeddings=recipe.embeddings or ("whole" if whole else "cut"),
            optimizer=recipe.training.optimizer or "32",
            tokens=recipe.training.tokens or Settings().tokens,
        ),
        [],
    )


def conflicts(recipe: Recipe, mixtures: Sequence[Mixture]) -> list[str]:
    """What a recipe says of memory that can't be held together, before anything is read."""
    methods, problems = [method.spec for method, _ in recipe.choices()], []
    readers = [method.name for method in methods if method.reads_weights]
    if recipe.precision in ("8bit", "4bit") and readers:
        problems.append(
            f"precision {recipe.precision}: {', '.join(readers)}"
            " read or train the encoder's weights, which are packed then; use bf16 or 32"
        )
    if recipe.embeddings in ("cut", "host") and any(method.trains_encoder for method in methods):
        problems.append("embeddings: full fine-tuning trains the word table; it must be whole")
    if recipe.embeddings == "cut" and _masked(mixtures):
        problems.append(
            "embeddings: cut: masked language modelling needs every row of the word table; use host"
        )
    return problems


def _masked(mixtures: Sequence[Mixture]) -> bool:
    """Whether masked words are trained."""
    return any(KINDS[trained.kind].masks for mixture in mixtures for trained in mixture.tasks)


def _within(
    budget: int, inputs: Inputs, mixtures: Sequence[Mixture], targets: Iterable[str]
) -> tuple[MemoryPlan, list[str]]:
    """The cheapest memory plan with which every method of the recipe fits."""
    recipe, mlm = inputs.recipe, _masked(mixtures)
    tokens = recipe.training.tokens or Settings().tokens
    names = [trained.name for mixture in mixtures for trained in mixture.tasks] or list(targets)
    length = max(inputs.lengths(name).max_length for name in names)
    packs = not any(method.spec.reads_weights for method, _ in recipe.choices())
    workload = memory.Workload(
        length=min(length, tokens),
        step_tokens=tokens,
        vocabulary=None if mlm else len(ids_of(features_read(inputs, mixtures, targets))),
        dropout=recipe.training.dropout,
    )
    choices: list[tuple[MemoryPlan, list[str]]] = []
    for method, _ in recipe.choices():
        if method.spec.is_empty:
            continue
        fuses = "fuse" in recipe.modes and not method.spec.refusal("fuse")
        memory_plan, lines = memory.choose(
            budget,
            inputs.files,
            method,
            replace(workload, parts=_parts(recipe) if fuses else 0),
            bases=[base for base in BASES if packs or base not in ("8bit", "4bit")],
            mlm=mlm,
            least=min(tokens, max(length, memory.LEAST)),
        )
        choices.append((memory_plan, [f"memory, {method.label}: {line}" for line in lines]))
    if not choices:
        raise XittError(
            f"memory {recipe.memory}: the head alone trains nothing in the encoder; leave the"
            " key out"
        )
    # further down the same ladder fits the others too
    memory_plan, lines = max(choices, key=lambda choice: len(choice[1]))
    # with their own plans the others leave no more
    room = min(plan.room for plan, _ in choices if plan.room is not None)
    note = (
        "memory: modules side by side, moments and heads too, take "
        f"{sizes.show(room)} at most: narrower cohorts, scoring in parts"
    )
    return replace(memory_plan, room=room), [*lines, note]


def _parts(recipe: Recipe) -> int:
    """The modules that a fusion of the recipe is over: every intermediate's and the target's
    own."""
    plain = [
        mixture
        for mixture in recipe.mixtures()
        if mixture.portions and not any(part.variant for part in mixture.portions)
    ]
    return 1 + len(plain)


def features_read(
    inputs: Inputs, mixtures: Sequence[Mixture], targets: Iterable[str]
) -> list[Features]:
    """Everything that the encoder will read: training, selection and test features."""
    features = []
    for mixture in mixtures:
        for portion in inputs.data(mixture):
            features += [portion.train, portion.selection]
    for name in targets:
        for language in inputs.recipe.test_languages(task(name)):
            features += [inputs.features(rows) for rows in inputs.tested(name, language)]
    return features


def ids_of(features: Iterable[Features]) -> NDArray[np.int64]:
    """The distinct token ids, rising."""
    distinct = [np.unique(split.columns["ids"].values) for split in features]
    return np.unique(np.concatenate(distinct)).astype(np.int64)


def encoder_options(
    memory_plan: MemoryPlan, features: Callable[[], Iterable[Features]]
) -> dict[str, Any]:
    """The keywords of `encoder.load`; `features` gives what will be read where the word table is
    cut to it."""
    options = memory_plan.encoder_options()
    if memory_plan.embeddings == "cut":
        options["ids"] = torch.from_numpy(ids_of(features()))
    return options
