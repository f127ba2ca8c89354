"""Modules put together without training: what a composition of modules is as one module.

A low-rank module is taken as the updates it stands for (`low_rank_merging`), and every merge is
compared with the weighted sum of updates that it stands for. Bottlenecks have no such sum: their
parameters are averaged, and only where they were born with the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from adapters_xitt.errors import XittError
from adapters_xitt.modules.composition import (
    FULL,
    MERGES,
    Composition,
    Fuse,
    Merge,
    Nothing,
    Part,
    Scaled,
    Stack,
    names,
    show,
)
from adapters_xitt.modules.low_rank_merging import (
    COMBINE,
    Factors,
    add,
    add_up,
    errors,
    factors,
    lora_tensors,
    merge_updates,
    scale_updates,
)
from adapters_xitt.modules.methods import LARGEST, TARGET_MODULES, Choice

# a module's tensors and its method
Tensors = tuple[Mapping[str, Tensor], Choice]


@dataclass(frozen=True)
class MergedTensors:
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
            return methods[name]["rank"] * (2 if methods[name].spec.keeps_start else 1)
        case Scaled(part, _):
            return rank_of(part, methods, width)
        case Merge(how, parts, options):
            ranks = [rank_of(part, methods, width) for part in parts]
            asked = dict(options).get("rank")
            rank = width if asked == FULL else int(asked or 0)
            if how in COMBINE:  # what it makes has any rank
                return rank or sum(ranks)
            return min(rank or (max(ranks) if how == "svd" else sum(ranks)), sum(ranks))
        case _:
            return sum(rank_of(part, methods, width) for part in composition.parts)


def merged_method(
    composition: Composition, methods: Mapping[str, Choice], layers: int, width: int
) -> Choice:
    """The method of the module that a composition can be made into, in an encoder of `layers` and
    `width`; a `XittError` where it can't be one."""
    text, modules = show(composition), names(composition)
    if wrong := _no_update(composition, methods):
        return _averaged_method(composition, methods, wrong)
    updates = [methods[name] for name in modules if methods[name].spec.is_update]
    targets = tuple(
        target for target in TARGET_MODULES if any(target in update["places"] for update in updates)
    )
    adapted = {layer for update in updates for layer in update.adapted(layers)}
    rank = rank_of(composition, methods, width)
    if rank > LARGEST:
        raise XittError(
            f"{text}: its ranks add up to {rank:,}, more than the {LARGEST:,} of a module; cut it: "
            f"svd({text}, rank=64)"
        )
    return Choice(
        "lora",
        (
            ("rank", rank),
            ("alpha", rank),
            ("places", targets),
            ("dropout", 0.0),
            ("leave_out", tuple(layer for layer in range(layers) if layer not in adapted)),
        ),
    )


def _averaged_method(composition: Composition, methods: Mapping[str, Choice], wrong: str) -> Choice:
    """The method of a mean of bottlenecks' parameters; `wrong` is what in it is no update."""
    text, modules = show(composition), names(composition)
    engines = {methods[name].spec.engine for name in modules}
    is_mean = isinstance(composition, Merge) and composition.how == "mean"
    if not is_mean or "adapters" not in engines:
        raise XittError(
            f"{text}: {wrong} is no low-rank update, and only these add up to one module;"
            " bottlenecks that were born alike have a mean: mean(a, b)"
        )
    parts = [part.part if isinstance(part, Scaled) else part for part in composition.parts]
    single = all(isinstance(part, Part) for part in parts)
    if not single or len({methods[name] for name in modules}) > 1:
        raise XittError(
            f"{text}: a mean of bottlenecks is of single modules of one method with the same"
            " options; these are"
            f" {', '.join(dict.fromkeys(methods[name].label for name in modules))}"
        )
    return methods[modules[0]]


def _no_update(composition: Composition, methods: Mapping[str, Choice]) -> str:
    """What in a composition isn't an update of weights; empty where everything is."""
    match composition:
        case Part(name):
            return "" if methods[name].spec.adds_up else name
        case Nothing() | Stack():
            return show(composition)
        case Fuse(_, by) if not methods[by].spec.fuses_updates:
            return show(composition)
    for part in composition.parts:
        if wrong := _no_update(part, methods):
            return wrong
    return ""


def merge_modules(
    composition: Composition,
    parts: Mapping[str, Tensors],
    layers: int,
    width: int,
    *,
    compare_with: Composition | None = None,
) -> MergedTensors:
    """The module that a composition stands for, from the tensors and the method of each of its
    parts. Its errors are measured from the weighted sum that `compare_with` stands for: the
    composition as it was written, before the merges within it were made; where nothing is given,
    the composition itself."""
    methods = {name: method for name, (_, method) in parts.items()}
    method = merged_method(composition, methods, layers, width)
    if not method.spec.is_update:
        return MergedTensors(_average(composition, parts), {}, {})
    tensors = lora_tensors(_update(composition, parts, width), method, layers)
    updates = factors(tensors, method)
    wanted = _update(compare_with or composition, parts, None, as_sum=True)
    uncut = _update(composition, parts, None) if _cuts(composition) else None
    return MergedTensors(
        tensors, errors(updates, wanted), {} if uncut is None else errors(updates, uncut)
    )


def _average(composition: Composition, parts: Mapping[str, Tensors]) -> dict[str, Tensor]:
    """The weighted mean of modules' parameters."""
    tensors = [parts[name][0] for part in composition.parts for name in names(part)]
    pairs = list(zip(tensors, shares(composition.parts), strict=True))
    average = {}
    for name in tensors[0]:
        terms = [weight * values[name].double() for values, weight in pairs]
        average[name] = add_up(terms).float()
    return average


def _cuts(composition: Composition) -> bool:
    """Whether a composition has a merge in it whose result is cut to a rank."""
    if isinstance(composition, Merge) and (composition.how in COMBINE or composition.how == "svd"):
        return True
    return any(_cuts(part) for part in composition.parts)


def shares(parts: Sequence[Composition]) -> list[float]:
    """What stands before each part of a mean, over their sum."""
    weights = [part.weight if isinstance(part, Scaled) else 1.0 for part in parts]
    return [weight / sum(weights) for weight in weights]


def _update(
    composition: Composition,
    parts: Mapping[str, Tensors],
    width: int | None,
    *,
    as_sum: bool = False,
) -> Factors:
    """The update that a composition stands for, in an encoder of `width`; None: with no merge cut
    to its rank. `as_sum`: the weighted sum that it is measured from, its merges having lost no
    entry either."""
    match composition:
        case Part(name):
            return factors(*parts[name])
        case Scaled(part, weight):
            return scale_updates(_update(part, parts, width, as_sum=as_sum), weight)
        case Merge():
            return _merge(composition, parts, width, as_sum=as_sum)
        case Fuse(inner, by):
            updates = [_update(part, parts, width, as_sum=as_sum) for part in inner]
            weighted = [
                scale_updates(update, _fusion_weights(parts[by], index, update))
                for index, update in enumerate(updates)
            ]
            return add(weighted)
        case _:
            return add([_update(part, parts, width, as_sum=as_sum) for part in composition.parts])


def _merge(
    composition: Merge, parts: Mapping[str, Tensors], width: int | None, *, as_sum: bool
) -> Factors:
    """The update that a merge stands for."""
    inner = [part.part if isinstance(part, Scaled) else part for part in composition.parts]
    updates = [_update(part, parts, width, as_sum=as_sum) for part in inner]
    weights = shares(composition.parts)
    if as_sum:
        return add(
            [scale_updates(update, weight) for update, weight in zip(updates, weights, strict=True)]
        )
    methods = {name: method for name, (_, method) in parts.items()}
    rank = rank_of(composition, methods, width) if width else None
    options = {**MERGES[composition.how].options, **dict(composition.options)}
    return merge_updates(composition.how, updates, weights, options, rank=rank)


def _fusion_weights(fusion: Tensors, part: int, update: Factors) -> dict[str, float]:
    """How a fusion weights a part at each layer and target module; where it has no weight,
    everything counts once."""
    tensors, method = fusion
    weights = tensors["weights"][:, part].double().tolist()
    layers = method.adapted(len(weights) // len(method["places"]) + len(method["leave_out"]))
    positions = [f"{layer}.{target}" for layer in layers for target in method["places"]]
    weight_of = dict(zip(positions, weights, strict=True))
    return {position: weight_of.get(position, 1.0) for position in update}
