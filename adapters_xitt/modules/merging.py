"""Modules put together without training: pure functions on their tensors.

A low-rank module is taken as the updates it stands for, a factored matrix ΔW = B·A for every layer
and place, and every merge is compared with the weighted sum of updates that it stands for.
Bottlenecks have no such sum: their parameters are averaged, and only where they were born with the
same ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adapters_xitt.errors import XittError
from adapters_xitt.modules import composition as compose
from adapters_xitt.modules.composition import (
    FULL,
    Composition,
    Fuse,
    Merge,
    Nothing,
    Part,
    Scaled,
    Stack,
)
from adapters_xitt.modules.methods import MOST, PLACES, Choice

# "3.query" → B [out, rank], A [rank, in], in fp64: ΔW = B·A
Factors = dict[str, tuple[Tensor, Tensor]]
Combine = Callable[
    [Sequence[Tensor], Sequence[float], Mapping[str, float], torch.Generator], Tensor
]


def _trimmed(update: Tensor, density: float) -> Tensor:
    """The `density` share of the entries that are largest, the others zero."""
    keep = max(1, int(density * update.numel()))
    if keep == update.numel():
        return update
    floor = update.abs().flatten().kthvalue(update.numel() - keep + 1).values
    return torch.where(update.abs() >= floor, update, 0.0)


def _ties(
    updates: Sequence[Tensor],
    weights: Sequence[float],
    options: Mapping[str, float],
    draw: torch.Generator,
) -> Tensor:
    """TIES (Yadav et al. 2023): trim each, elect a sign for each entry, average those that agree
    with it."""
    trimmed = [
        weight * _trimmed(one, options["density"])
        for one, weight in zip(updates, weights, strict=True)
    ]
    sign = sum(trimmed).sign()
    agree = [(one.sign() == sign) & (one != 0) for one in trimmed]
    share = sum(abs(weight) * one for one, weight in zip(agree, weights, strict=True))
    return sum(
        torch.where(one, value, 0.0) for one, value in zip(agree, trimmed, strict=True)
    ) / share.clamp_min(1e-30)


def _dare(
    updates: Sequence[Tensor],
    weights: Sequence[float],
    options: Mapping[str, float],
    draw: torch.Generator,
) -> Tensor:
    """DARE (Yu et al. 2024): drop entries at random, rescale the others, add up."""
    density = options["density"]
    return sum(
        weight / density * one * (torch.rand(one.shape, generator=draw, dtype=one.dtype) < density)
        for one, weight in zip(updates, weights, strict=True)
    )


def _magnitude(
    updates: Sequence[Tensor],
    weights: Sequence[float],
    options: Mapping[str, float],
    draw: torch.Generator,
) -> Tensor:
    """The largest entries of each, added up."""
    return sum(
        weight * _trimmed(one, options["density"])
        for one, weight in zip(updates, weights, strict=True)
    )


# What makes one matrix of several; the others never write the matrices out: the sum of factored
# ones is factored.
COMBINE: dict[str, Combine] = {"ties": _ties, "dare": _dare, "magnitude": _magnitude}


# -- low-rank updates ------------------------------------------------------------------------------


def factors(tensors: Mapping[str, Tensor], choice: Choice) -> Factors:
    """The updates of a low-rank module, its scaling within B."""
    if choice.name == "pissa":
        tensors, choice = converted(tensors, choice)
    ends = {end: place for place, (end, _) in PLACES.items()}
    found = {}
    for name, a in tensors.items():
        if ".lora_A." in name:
            _, _, layer, end = name.partition(".lora_A.")[0].split(".", 3)
            b = tensors[name.replace(".lora_A.", ".lora_B.")]
            found[f"{layer}.{ends[end]}"] = (choice.scaling * b.double(), a.double())
    return found


def scaled(updates: Factors, weight: float | Mapping[str, float]) -> Factors:
    """Every update times a number, or each times its own."""
    return {
        at: ((weight if isinstance(weight, (int, float)) else weight[at]) * b, a)
        for at, (b, a) in updates.items()
    }


def added(parts: Sequence[Factors]) -> Factors:
    """The exact sum: factors side by side, ranks added."""
    places = dict.fromkeys(at for part in parts for at in part)
    return {
        at: (
            torch.cat([part[at][0] for part in parts if at in part], 1),
            torch.cat([part[at][1] for part in parts if at in part], 0),
        )
        for at in places
    }


def merged(
    how: str,
    parts: Sequence[Factors],
    weights: Sequence[float],
    options: Mapping[str, float | None],
    *,
    rank: int | None,
) -> Factors:
    """The merge of several updates, their weights summing to one, in factors of `rank`; None: as it
    is, uncut."""
    mean = added([scaled(part, weight) for part, weight in zip(parts, weights, strict=True)])
    combine, found = COMBINE.get(how), {}
    draw = torch.Generator().manual_seed(int(options.get("seed") or 0))
    for at in sorted(mean, key=_order):
        b, a = mean[at]
        if combine is None:
            found[at] = (b, a) if rank is None else cut(b, a, rank)
            continue
        written = [
            (
                part[at][0] @ part[at][1]
                if at in part
                else torch.zeros(len(b), a.shape[1], dtype=b.dtype)
            )
            for part in parts
        ]
        whole = combine(written, weights, options, draw)
        if rank is None:
            found[at] = (whole, torch.eye(whole.shape[1], dtype=whole.dtype))
            continue
        u, s, v = torch.linalg.svd(whole, full_matrices=False)
        found[at] = (u[:, :rank] * s[:rank].sqrt(), s[:rank, None].sqrt() * v[:rank])
    return found


def cut(b: Tensor, a: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The closest product of `rank` to B·A (Eckart and Young 1936), without writing the product
    out; B and A as they are where they have no more."""
    if a.shape[0] <= rank:
        return b, a
    left, upper = torch.linalg.qr(b)
    right, resolve = torch.linalg.qr(a.T)
    u, s, v = torch.linalg.svd(upper @ resolve.T, full_matrices=False)
    u, s, v = u[:, :rank], s[:rank], v[:rank]
    return left @ u * s.sqrt(), s.sqrt()[:, None] * (v @ right.T)


def errors(found: Factors, wanted: Factors) -> dict[str, float]:
    """‖ΔW − Σ wᵢΔWᵢ‖ / ‖Σ wᵢΔWᵢ‖ (Frobenius) at every layer and place, and under "all" over all of
    them."""
    parts = {}
    for at in sorted(found, key=_order):
        made = found[at][0] @ found[at][1]
        meant = wanted[at][0] @ wanted[at][1] if at in wanted else torch.zeros_like(made)
        parts[at] = (float((made - meant).square().sum()), float(meant.square().sum()))
    told = {at: _ratio(*pair) for at, pair in parts.items()}
    return {
        **told,
        "all": _ratio(
            sum(pair[0] for pair in parts.values()), sum(pair[1] for pair in parts.values())
        ),
    }


def _ratio(off: float, whole: float) -> float:
    return (off / whole) ** 0.5 if whole else 0.0 if not off else float("inf")


def _order(at: str) -> tuple[int, int]:
    layer, _, place = at.partition(".")
    return int(layer), list(PLACES).index(place)


def lora(updates: Factors, choice: Choice, layers: int) -> dict[str, Tensor]:
    """The tensors of a module of `choice`, a lora with alpha = rank, whose updates these are: zeros
    up to its rank, and at the layers and places that have none."""
    sizes = {at.partition(".")[2]: (len(b), a.shape[1]) for at, (b, a) in updates.items()}
    found = {}
    for layer in choice.adapted(layers):
        for place in choice["places"]:
            out, into = sizes[place]
            b, a = updates.get(
                f"{layer}.{place}", (torch.zeros(out, 0).double(), torch.zeros(0, into).double())
            )
            pad = choice["rank"] - a.shape[0]
            name = f"encoder.layer.{layer}.{PLACES[place][0]}"
            found[f"{name}.lora_A.weight"] = torch.cat([a, a.new_zeros(pad, into)]).float()
            found[f"{name}.lora_B.weight"] = torch.cat([b, b.new_zeros(out, pad)], 1).float()
    return found


def converted(tensors: Mapping[str, Tensor], choice: Choice) -> tuple[dict[str, Tensor], Choice]:
    """A PiSSA module as a plain LoRA of twice the rank, for whoever knows nothing of its start: the
    trained factors and the frozen ones side by side."""
    found = {}
    for name, value in tensors.items():
        if ".start." not in name:
            start = tensors[name.replace(".weight", ".start.weight")]
            found[name] = torch.cat([value, start], dim=0 if ".lora_A" in name else 1)
    doubled = {"rank": 2 * choice["rank"], "alpha": 2 * choice["alpha"]}
    return found, Choice(
        "lora", tuple((option, doubled.get(option, value)) for option, value in choice.options)
    )


# -- whole modules ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Made:
    """The tensors of a module that was put together, and how far each of its matrices is from the
    weighted sum that it stands for; no errors where parameters were averaged. `lost` is the part of
    that which the module's rank is to blame for: how far each matrix is from what its merges make,
    uncut; empty where nothing is merged."""

    tensors: dict[str, Tensor]
    errors: dict[str, float]
    lost: dict[str, float]


def rank_of(composition: Composition, methods: Mapping[str, Choice], width: int) -> int:
    """The rank of the update that a composition of low-rank modules stands for, at most; `width`,
    the encoder's, is the full one."""
    match composition:
        case Part(name):
            return methods[name]["rank"] * (2 if methods[name].name == "pissa" else 1)
        case Scaled(part, _):
            return rank_of(part, methods, width)
        case Merge(how, parts, options):
            ranks, asked = (
                [rank_of(part, methods, width) for part in parts],
                dict(options).get("rank"),
            )
            asked = width if asked == FULL else int(asked or 0)
            if how in COMBINE:  # what it makes has any rank
                return asked or sum(ranks)
            return min(asked or (max(ranks) if how == "svd" else sum(ranks)), sum(ranks))
        case _:
            return sum(rank_of(part, methods, width) for part in composition.parts)


def choice(
    composition: Composition, methods: Mapping[str, Choice], layers: int, width: int
) -> Choice:
    """The method of the module that a composition can be made into, in an encoder of `layers` and
    `width`; a `XittError` where it can't be one."""
    text, names = compose.show(composition), compose.names(composition)
    engines = {name: methods[name].row.engine for name in names}
    if wrong := _no_update(composition, methods):
        parts = [
            part.part if isinstance(part, Scaled) else part
            for part in getattr(composition, "parts", ())
        ]
        if (
            not isinstance(composition, Merge)
            or composition.how != "mean"
            or "adapters" not in engines.values()
        ):
            raise XittError(
                f"{text}: {wrong} is no low-rank update, and only these add up to one module;"
                " bottlenecks that were born alike have a mean: mean(a, b)"
            )
        if (
            not all(isinstance(part, Part) for part in parts)
            or len({methods[name] for name in names}) > 1
        ):
            raise XittError(
                f"{text}: a mean of bottlenecks is of single modules of one method with the same"
                " options; these are"
                f" {', '.join(dict.fromkeys(methods[name].label for name in names))}"
            )
        return methods[names[0]]
    low = [methods[name] for name in names if engines[name] == "peft"]
    places = tuple(place for place in PLACES if any(place in part["places"] for part in low))
    adapted = {layer for part in low for layer in part.adapted(layers)}
    rank = rank_of(composition, methods, width)
    if rank > MOST:
        raise XittError(
            f"{text}: its ranks add up to {rank:,}, more than the {MOST:,} of a module; cut it: "
            f"svd({text}, rank=64)"
        )
    return Choice(
        "lora",
        (
            ("rank", rank),
            ("alpha", rank),
            ("places", places),
            ("dropout", 0.0),
            ("leave_out", tuple(layer for layer in range(layers) if layer not in adapted)),
        ),
    )


def _no_update(composition: Composition, methods: Mapping[str, Choice]) -> str:
    """What in a composition isn't an update of weights; empty where everything is."""
    match composition:
        case Part(name):
            return (
                "" if methods[name].row.engine == "peft" and methods[name].name != "dora" else name
            )
        case Nothing() | Stack():
            return compose.show(composition)
        case Fuse(parts, by):
            own = "" if methods[by].row.engine == "weights" else compose.show(composition)
            return own or next(filter(None, (_no_update(part, methods) for part in parts)), "")
        case _:
            return next(filter(None, (_no_update(part, methods) for part in composition.parts)), "")


def make(
    composition: Composition,
    parts: Mapping[str, tuple[Mapping[str, Tensor], Choice]],
    layers: int,
    width: int,
    *,
    meant: Composition | None = None,
) -> Made:
    """The module that a composition stands for, from the tensors and the method of each of its
    parts. Its errors are measured from the weighted sum that `meant` stands for: the composition as
    it was written, before the merges within it were made; where nothing is given, the composition
    itself."""
    methods = {name: pair[1] for name, pair in parts.items()}
    whole = choice(composition, methods, layers, width)
    if whole.row.engine != "peft":
        weights = shares(composition.parts)
        tensors = [parts[name][0] for part in composition.parts for name in compose.names(part)]
        pairs = list(zip(tensors, weights, strict=True))
        return Made(
            {
                name: sum(weight * one[name].double() for one, weight in pairs).float()
                for name in tensors[0]
            },
            {},
            {},
        )
    tensors = lora(_update(composition, parts, width), whole, layers)
    found = factors(tensors, whole)
    return Made(
        tensors,
        errors(found, _update(meant or composition, parts, None, meant=True)),
        errors(found, _update(composition, parts, None)) if _cuts(composition) else {},
    )


def _cuts(composition: Composition) -> bool:
    """Whether a composition has a merge in it whose result is cut to a rank."""
    return (
        isinstance(composition, Merge) and (composition.how in COMBINE or composition.how == "svd")
    ) or any(_cuts(part) for part in getattr(composition, "parts", ()))


def shares(parts: Sequence[Composition]) -> list[float]:
    """What stands before each part of a mean, over their sum."""
    own = [part.weight if isinstance(part, Scaled) else 1.0 for part in parts]
    return [weight / sum(own) for weight in own]


def _update(
    composition: Composition,
    parts: Mapping[str, tuple[Mapping[str, Tensor], Choice]],
    width: int | None,
    *,
    meant: bool = False,
) -> Factors:
    """The update that a composition stands for, in an encoder of `width`; None: with no merge cut
    to its rank. `meant`: the weighted sum that it is measured from, its merges having lost no entry
    either."""
    match composition:
        case Part(name):
            return factors(*parts[name])
        case Scaled(part, weight):
            return scaled(_update(part, parts, width, meant=meant), weight)
        case Merge(how, inner, options):
            plain = [
                _update(part.part if isinstance(part, Scaled) else part, parts, width, meant=meant)
                for part in inner
            ]
            if meant:
                return added(
                    [
                        scaled(part, weight)
                        for part, weight in zip(plain, shares(inner), strict=True)
                    ]
                )
            rank = width and rank_of(
                composition, {name: pair[1] for name, pair in parts.items()}, width
            )
            return merged(
                how,
                plain,
                shares(inner),
                {**compose.MERGES[how].options, **dict(options)},
                rank=rank,
            )
        case Fuse(inner, by):
            updates = [_update(part, parts, width, meant=meant) for part in inner]
            return added(
                [scaled(update, _row(*parts[by], n, update)) for n, update in enumerate(updates)]
            )
        case _:
            return added([_update(part, parts, width, meant=meant) for part in composition.parts])


def _row(tensors: Mapping[str, Tensor], by: Choice, part: int, update: Factors) -> dict[str, float]:
    """How a fusion weights a part at each layer and place; where it has no weight, everything
    counts once."""
    weights = tensors["weights"][:, part].double().tolist()
    layers = by.adapted(len(weights) // len(by["places"]) + len(by["leave_out"]))
    rows = [f"{layer}.{place}" for layer in layers for place in by["places"]]
    own = dict(zip(rows, weights, strict=True))
    return {at: own.get(at, 1.0) for at in update}
