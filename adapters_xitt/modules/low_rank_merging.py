"""Low-rank updates put together: a factored matrix ΔW = B·A for every layer and target module."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from adapters_xitt.modules.methods import START, TARGET_MODULES, TARGET_OF_PATH, Choice

# "3.query" → B [out, rank], A [rank, in], in fp64: ΔW = B·A
Factors = dict[str, tuple[Tensor, Tensor]]
# the matrices of one position, their weights, the merge's options, what draws → one matrix
Combine = Callable[
    [Sequence[Tensor], Sequence[float], Mapping[str, float | None], torch.Generator], Tensor
]


def _density(options: Mapping[str, float | None]) -> float:
    density = options["density"]
    assert density is not None  # it has a default
    return density


def add_up(terms: Sequence[Tensor]) -> Tensor:
    """The terms' sum, from the left, which no -0 survives."""
    total = torch.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def _trim(update: Tensor, density: float) -> Tensor:
    """The `density` share of the entries that are largest, the others zero."""
    keep = max(1, int(density * update.numel()))
    if keep == update.numel():
        return update
    floor = update.abs().flatten().kthvalue(update.numel() - keep + 1).values
    return torch.where(update.abs() >= floor, update, 0.0)


def _ties(
    updates: Sequence[Tensor],
    weights: Sequence[float],
    options: Mapping[str, float | None],
    draw: torch.Generator,
) -> Tensor:
    """TIES (Yadav et al. 2023): trim each, elect a sign for each entry, average those that agree
    with it."""
    density = _density(options)
    trimmed = [
        weight * _trim(update, density) for update, weight in zip(updates, weights, strict=True)
    ]
    sign = add_up(trimmed).sign()
    agree = [(update.sign() == sign) & (update != 0) for update in trimmed]
    share = add_up([abs(weight) * entries for entries, weight in zip(agree, weights, strict=True)])
    kept = [
        torch.where(entries, update, 0.0) for entries, update in zip(agree, trimmed, strict=True)
    ]
    return add_up(kept) / share.clamp_min(1e-30)


def _dare(
    updates: Sequence[Tensor],
    weights: Sequence[float],
    options: Mapping[str, float | None],
    draw: torch.Generator,
) -> Tensor:
    """DARE (Yu et al. 2024): drop entries at random, rescale the others, add up."""
    density = _density(options)
    terms = []
    for update, weight in zip(updates, weights, strict=True):
        kept = torch.rand(update.shape, generator=draw, dtype=update.dtype) < density
        terms.append(weight / density * update * kept)
    return add_up(terms)


def _magnitude(
    updates: Sequence[Tensor],
    weights: Sequence[float],
    options: Mapping[str, float | None],
    draw: torch.Generator,
) -> Tensor:
    """The largest entries of each, added up."""
    density = _density(options)
    return add_up(
        [weight * _trim(update, density) for update, weight in zip(updates, weights, strict=True)]
    )


# What makes one matrix of several; the others never write the matrices out: the sum of factored
# ones is factored.
COMBINE: dict[str, Combine] = {"ties": _ties, "dare": _dare, "magnitude": _magnitude}


def factors(tensors: Mapping[str, Tensor], choice: Choice) -> Factors:
    """The updates of a low-rank module, its scaling within B."""
    if choice.spec.keeps_start:
        tensors, choice = plain_lora(tensors, choice)
    updates = {}
    for name, a in tensors.items():
        if ".lora_A." in name:
            _, _, layer, path = name.partition(".lora_A.")[0].split(".", 3)
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            updates[f"{layer}.{TARGET_OF_PATH[path]}"] = (choice.scaling * b.double(), a.double())
    return updates


def scale_updates(updates: Factors, weight: float | Mapping[str, float]) -> Factors:
    """Every update times a number, or each times its own."""
    return {
        position: ((weight[position] if isinstance(weight, Mapping) else weight) * b, a)
        for position, (b, a) in updates.items()
    }


def add(parts: Sequence[Factors]) -> Factors:
    """The exact sum: factors side by side, ranks added."""
    total = {}
    for position in dict.fromkeys(position for part in parts for position in part):
        there = [part[position] for part in parts if position in part]
        total[position] = (torch.cat([b for b, _ in there], 1), torch.cat([a for _, a in there], 0))
    return total


def merge_updates(
    how: str,
    parts: Sequence[Factors],
    weights: Sequence[float],
    options: Mapping[str, float | None],
    *,
    rank: int | None,
) -> Factors:
    """The merge of several updates, their weights summing to one, in factors of `rank`; None: as it
    is, uncut."""
    mean = add([scale_updates(part, weight) for part, weight in zip(parts, weights, strict=True)])
    combine = COMBINE.get(how)
    draw = torch.Generator().manual_seed(int(options.get("seed") or 0))
    merged: Factors = {}
    for position in sorted(mean, key=_order):
        b, a = mean[position]
        if combine is None:
            merged[position] = (b, a) if rank is None else cut(b, a, rank)
            continue
        zeros = torch.zeros(len(b), a.shape[1], dtype=b.dtype)
        matrices = [
            part[position][0] @ part[position][1] if position in part else zeros for part in parts
        ]
        matrix = combine(matrices, weights, options, draw)
        if rank is None:
            merged[position] = (matrix, torch.eye(matrix.shape[1], dtype=matrix.dtype))
            continue
        u, s, v = torch.linalg.svd(matrix, full_matrices=False)
        merged[position] = (u[:, :rank] * s[:rank].sqrt(), s[:rank, None].sqrt() * v[:rank])
    return merged


def cut(b: Tensor, a: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The closest product of `rank` to B·A (Eckart and Young 1936), without writing the product
    out; B and A as they are where they have no more."""
    if a.shape[0] <= rank:
        return b, a
    left, upper = torch.linalg.qr(b)
    right, lower = torch.linalg.qr(a.T)
    u, s, v = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    u, s, v = u[:, :rank], s[:rank], v[:rank]
    return left @ u * s.sqrt(), s.sqrt()[:, None] * (v @ right.T)


def errors(updates: Factors, wanted: Factors) -> dict[str, float]:
    """‖ΔW − Σ wᵢΔWᵢ‖ / ‖Σ wᵢΔWᵢ‖ (Frobenius) at every layer and target module, and under "all"
    over all of them."""
    squares = {}
    for position in sorted(updates, key=_order):
        b, a = updates[position]
        matrix = b @ a
        target = torch.zeros_like(matrix)
        if position in wanted:
            target = wanted[position][0] @ wanted[position][1]
        squares[position] = (
            float((matrix - target).square().sum()),
            float(target.square().sum()),
        )
    ratios = {position: _ratio(off, whole) for position, (off, whole) in squares.items()}
    all_off = sum(off for off, _ in squares.values())
    return {**ratios, "all": _ratio(all_off, sum(whole for _, whole in squares.values()))}


def _ratio(off: float, whole: float) -> float:
    if whole:
        return (off / whole) ** 0.5
    return float("inf") if off else 0.0


def _order(position: str) -> tuple[int, int]:
    layer, _, target = position.partition(".")
    return int(layer), list(TARGET_MODULES).index(target)


def lora_tensors(updates: Factors, choice: Choice, layers: int) -> dict[str, Tensor]:
    """The tensors of a module of `choice`, a lora with alpha = rank, whose updates these are: zeros
    up to its rank, and at the layers and target modules that have none."""
    sizes = {
        position.partition(".")[2]: (len(b), a.shape[1]) for position, (b, a) in updates.items()
    }
    tensors = {}
    for layer in choice.adapted(layers):
        for target in choice["places"]:
            writes, reads = sizes[target]
            nothing = (torch.zeros(writes, 0).double(), torch.zeros(0, reads).double())
            b, a = updates.get(f"{layer}.{target}", nothing)
            pad = choice["rank"] - a.shape[0]
            name = f"encoder.layer.{layer}.{TARGET_MODULES[target].path}"
            tensors[f"{name}.lora_A.weight"] = torch.cat([a, a.new_zeros(pad, reads)]).float()
            tensors[f"{name}.lora_B.weight"] = torch.cat([b, b.new_zeros(writes, pad)], 1).float()
    return tensors


def plain_lora(tensors: Mapping[str, Tensor], choice: Choice) -> tuple[dict[str, Tensor], Choice]:
    """A PiSSA module as a plain LoRA of twice the rank, for whoever knows nothing of its start: the
    trained factors and the frozen ones side by side."""
    both = {}
    for name, value in tensors.items():
        if START not in name:
            start = tensors[name.replace(".weight", ".start.weight")]
            both[name] = torch.cat([value, start], dim=0 if ".lora_A" in name else 1)
    doubled = choice.with_options(rank=2 * choice["rank"], alpha=2 * choice["alpha"])
    return both, Choice("lora", doubled.options)
