"""The choice among ways to hold training in memory, from cheap to dear; and how many modules fit
side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, TypeVar

from adapters_xitt.errors import XittError
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.modules.methods import Choice
from adapters_xitt.sizes import show
from adapters_xitt.training.memory.account import Workload, account
from adapters_xitt.training.memory.plan import BASES, MemoryPlan

Item = TypeVar("Item")
LEAST = 512  # tokens: no micro-batch is made smaller than the longest sequence


def fit_groups(
    items: Sequence[Item],
    held: Callable[[Item], Mapping[str, int]],
    room: int | None,
    *,
    most: int | None = None,
) -> list[list[Item]]:
    """Items in their order in groups whose modules take `room` bytes together at most, each module
    once, and of `most` items; one that is larger stands alone."""
    groups: list[list[Item]] = []
    taken: dict[str, int] = {}
    for item in items:
        together = {**taken, **held(item)}
        over = room is not None and sum(together.values()) > room
        if not groups or over or len(groups[-1]) == most:
            groups.append([])
            together = dict(held(item))
        groups[-1].append(item)
        taken = together
    return groups


def ladder(
    *,
    tokens: int,
    vocabulary: int | None,
    bases: Sequence[str] = tuple(BASES),
    whole: bool = False,
    mlm: bool = False,
    least: int = LEAST,
) -> list[tuple[str, MemoryPlan]]:
    """The memory plans from cheap to dear, each kept by those after it, with what it costs in
    words.

    The order is that of what is paid, least first: nothing (rows nobody reads); the rounding that a
    GPU prefers anyway; a transfer of 8 MiB per 4,096 tokens; a sixth, then a third more computing,
    for the same numbers; batches too small to fill a GPU, for the same sums in another order; and
    only then what changes the numbers more than bf16 does: moments in 8 bits, products in 8 and in
    4. `whole` is for a method that trains every weight."""
    base = "32" if "32" in bases else "bf16" if "bf16" in bases else "16"
    memory_plan = MemoryPlan(tokens=tokens, base=base)
    steps = [
        *_table_and_rounding(base, bases, cut=vocabulary is not None and not mlm, whole=whole),
        *_recomputing(host=not mlm and not whole),
        *_smaller_batches(tokens, least),
        *_fewer_bits(bases, whole=whole),
    ]
    plans = [("as it is", memory_plan)]
    for words, change in steps:
        memory_plan = replace(memory_plan, **change)
        plans.append((words, memory_plan))
    return plans


Change = tuple[str, dict[str, Any]]  # in words, and the fields of a plan that it changes


def _table_and_rounding(base: str, bases: Sequence[str], *, cut: bool, whole: bool) -> list[Change]:
    """What costs nothing, and the rounding that a GPU prefers anyway."""
    if whole:
        return []
    steps: list[Change] = []
    if cut:
        words = "embeddings cut to the ids of the data: the same numbers"
        steps.append((words, {"embeddings": "cut"}))
    half = next((name for name in ("bf16", "16") if name in bases), None)
    if half and base != half:
        words = f"frozen weights and products in {half}: rounds, and is faster on a GPU"
        steps.append((words, {"base": half}))
    return steps


def _recomputing(*, host: bool) -> list[Change]:
    """What takes time for the same numbers: a transfer, and layers that are run twice."""
    steps: list[Change] = []
    if host:
        words = "embeddings on the host: the same numbers, rows are sent in every step"
        steps.append((words, {"embeddings": "host"}))
    return [
        *steps,
        (
            "one layer of 2 run twice: the same numbers, a sixth more computing",
            {"checkpointing": 2},
        ),
        ("every layer run twice: the same numbers, a third more computing", {"checkpointing": 1}),
    ]


def _smaller_batches(tokens: int, least: int) -> list[Change]:
    """Batches too small to fill a GPU."""
    steps: list[Change] = []
    while tokens // 2 >= least:
        tokens //= 2
        words = f"micro-batches of {tokens} tokens: the same effective batch, slower"
        steps.append((words, {"tokens": tokens}))
    return steps


def _fewer_bits(bases: Sequence[str], *, whole: bool) -> list[Change]:
    """What changes the numbers more than bf16 does."""
    steps: list[Change] = []
    if "8bit" in bases:
        steps.append(("moments in 8 bits: rounds the optimiser's state", {"optimizer": "8bit"}))
    for base in ("8bit", "4bit"):
        if base in bases and not whole:
            words = f"frozen products in {base[0]} bits: rounds the encoder, slower"
            steps.append((words, {"base": base}))
    return steps


def choose(
    budget: int,
    files: EncoderFiles,
    method: Choice,
    workload: Workload,
    *,
    bases: Sequence[str] = tuple(BASES),
    mlm: bool = False,
    least: int = LEAST,
) -> tuple[MemoryPlan, list[str]]:
    """The cheapest memory plan with which training one module stays below `budget` bytes, and a
    line for each step there; with `workload.parts` a fusion over so many, too. Its `room` is what
    that leaves for modules side by side.

    `bases` are those a run may take; 8 and 4 bits need bitsandbytes and are passed over without it.
    A `XittError` names the least that was possible."""
    missing = []
    if not find_spec("bitsandbytes"):
        missing = [base for base in ("8bit", "4bit") if base in bases]
    plans = ladder(
        tokens=workload.step_tokens,
        vocabulary=workload.vocabulary,
        bases=[base for base in bases if base not in missing],
        whole=method.spec.trains_encoder,
        mlm=mlm,
        least=least,
    )
    lines: list[str] = []
    sizes: list[int] = []
    for words, memory_plan in plans:
        accounts = [account(files, method, memory_plan, replace(workload, parts=0))]
        if workload.parts and accounts[0].total <= budget:
            accounts.append(account(files, method, memory_plan, workload))
        size = max(each.total for each in accounts)
        saves = f", saves {show(sizes[-1] - size)}" if sizes and sizes[-1] > size else ""
        lines.append(f"{words}: {show(size)}{saves}")
        sizes.append(size)
        if size <= budget:
            lines.append(f"chosen for {show(budget)}: {describe(memory_plan)}")
            room = budget - max(each.fixed for each in accounts)
            return replace(memory_plan, room=room), lines
    hint = (
        "; the package bitsandbytes would allow less: pip install 'adapters-xitt[quant]'"
        if missing
        else ""
    )
    raise XittError(
        f"memory {show(budget)}: training {method.label} on {files.name} takes at least"
        f" {show(min(sizes))}{hint}\n" + "\n".join(f"  {line}" for line in lines)
    )


def describe(memory_plan: MemoryPlan) -> str:
    """A memory plan in a line."""
    every = memory_plan.checkpointing
    twice = {None: "no layer", 1: "every layer"}.get(every, f"one layer of {every}")
    moments = "8 bits" if memory_plan.optimizer == "8bit" else "fp32"
    return (
        f"base {memory_plan.base}, embeddings {memory_plan.embeddings}, {twice} run twice,"
        f" micro-batches of {memory_plan.tokens} tokens, moments in {moments}"
    )
