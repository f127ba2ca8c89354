"""One pass over a batch whose rows are under different modules; a benchmark alone runs it yet."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from adapters_xitt.model.adapted import AdaptedEncoder, update_parts
from adapters_xitt.model.setup import AdapterSetup


def activate_rows(
    adapted: AdaptedEncoder, setups: Sequence[AdapterSetup], sizes: Sequence[int]
) -> bool:
    """Makes one pass over a batch compute another setup for each of its runs of `sizes` rows, and
    says whether it can; where it can't, nothing has changed. Low-rank updates can, whatever their
    sums: each row has its own number before each, 0 where it has none of it. So can bottlenecks
    that differ at the top of their stacks."""
    from adapters.composition import BatchSplit, Stack

    names = list(dict.fromkeys(name for setup in setups for name in setup.updates))
    stacks = [setup.bottlenecks for setup in setups]
    differ = len(set(stacks)) > 1
    if (
        any(setup.full or setup.fusion for setup in setups)
        or not all(adapted.methods[name].spec.adds_up for name in names)
        or (differ and not _splits(adapted, stacks))
    ):
        return False
    adapted.activate(AdapterSetup(stacks[0], tuple(names), None, 0))
    if differ:
        split = BatchSplit(*(stack[-1] for stack in stacks), batch_sizes=list(sizes))
        below = stacks[0][:-1]
        active = Stack(*below, split) if below else split
        adapted.encoder.model.adapters_config.active_setup = active
    device = adapted.encoder.device
    repeats = torch.tensor(sizes, device=device)
    for name in names:
        numbers = torch.tensor([_weight(setup, name) for setup in setups], device=device)
        rows = numbers.repeat_interleave(repeats)[:, None, None]
        for _, _, module in adapted.updated_layers:
            for part in update_parts(module, name):
                module.scaling[part] = adapted.methods[name].scaling * rows
    return True


def _weight(setup: AdapterSetup, name: str) -> float:
    """The number before an update; 0 where it is none of the setup's."""
    weights = setup.weights or (1.0,) * len(setup.updates)
    return dict(zip(setup.updates, weights, strict=True)).get(name, 0.0)


def _splits(adapted: AdaptedEncoder, stacks: Sequence[tuple]) -> bool:
    """Whether stacks differ in nothing but single bottlenecks at their tops, of one method that the
    library splits a batch over exactly."""
    tops = [stack[-1] for stack in stacks if stack and isinstance(stack[-1], str)]
    methods = {adapted.methods[top].spec.name: adapted.methods[top].spec for top in tops}
    return (
        len(tops) == len(stacks) == len(set(tops))
        and len({stack[:-1] for stack in stacks}) == 1
        and len(methods) == 1
        and all(method.splits_batches for method in methods.values())
    )
