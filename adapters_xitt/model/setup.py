"""A composition made to run: the forms of the libraries that are proven equal to each composition
alone.

Modules of `adapters` run as one Stack or Fuse of names; low-rank updates through `peft` as several
active at once, which is their exact sum, each at its own weight. Anything else is refused with the
reason and what to write instead."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from adapters_xitt.errors import XittError
from adapters_xitt.modules.composition import (
    Composition,
    Fuse,
    Merge,
    Part,
    Scaled,
    Stack,
    Sum,
    names,
    show,
    untrained_parts,
    weights,
)
from adapters_xitt.modules.methods import Choice, Method


@dataclass(frozen=True)
class AdapterSetup:
    """A composition in the form the libraries run: modules of `adapters` bottom first, low-rank
    updates in any order, or one fully fine-tuned encoder. `fusion` weights either all updates or
    the bottlenecks that stand in a tuple of their own. `weights` are numbers for the updates, none
    where each counts once. `depth` is the first layer that anything touches: the trunk lies below
    it."""

    bottlenecks: tuple[str | tuple[str, ...], ...]
    updates: tuple[str, ...]
    full: str | None
    depth: int
    fusion: str | None = None
    weights: tuple[float, ...] = ()


def resolve(composition: Composition, methods: Mapping[str, Choice], layers: int) -> AdapterSetup:
    """The form in which `composition` runs; a `XittError` for what no proven form exists for."""
    modules = names(composition)
    specs = {name: methods[name].spec for name in modules}
    full = next((name for name in modules if specs[name].trains_encoder), None)
    if full and len(modules) > 1:
        raise XittError(f"{show(composition)}: a fully fine-tuned encoder composes with nothing")
    _check(composition, methods)
    touched = [
        layer
        for name in modules
        if not specs[name].trains_encoder
        for layer in methods[name].adapted(layers)
    ]
    if any(method.before_layers for method in specs.values()):
        touched.append(0)
    updates = tuple(name for name in modules if specs[name].is_update)
    numbers = weights(composition)
    return AdapterSetup(
        bottlenecks=_stacked(composition, specs),
        updates=updates,
        full=full,
        depth=0 if full else min(touched, default=layers),
        fusion=next((name for name in modules if specs[name].is_fusion), None),
        weights=(
            tuple(numbers[name] for name in updates)
            if any(numbers[name] != 1 for name in updates)
            else ()
        ),
    )


def _stacked(
    composition: Composition, specs: Mapping[str, Method]
) -> tuple[str | tuple[str, ...], ...]:
    """The modules of `adapters`, bottom first; those under a fusion as one."""
    match composition:
        case Part(name):
            return (name,) if specs[name].is_bottleneck else ()
        case Fuse(parts, by) if specs[by].fuses_bottlenecks:
            return (tuple(part.name for part in parts if isinstance(part, Part)),)
        case _:
            return tuple(block for part in composition.parts for block in _stacked(part, specs))


# -- what is refused -------------------------------------------------------------------------------


def _check(composition: Composition, methods: Mapping[str, Choice]) -> None:
    """Refuses what the libraries' forms compute otherwise: each case with its reason."""
    _check_whole(composition)
    match composition:
        case Part(name) if methods[name].spec.is_fusion:
            raise XittError(
                f"{show(composition)}: a fusion runs over the modules it was trained on: write"
                f" {name}(a, b, …)"
            )
        case Scaled():
            _check_scaled(composition, methods)
        case Fuse():
            _check_fuse(composition, methods)
        case Stack() | Sum() if any(isinstance(part, Fuse) for part in composition.parts):
            _check_among(composition, methods)
        case Stack() | Sum():
            _check_chain(composition, methods)
        case _:
            pass


def _check_whole(composition: Composition) -> None:
    """What holds of every composition: nothing in it has to be made first, no module stands in it
    twice, no fusion deep within it."""
    text, leaves = show(composition), _leaves(composition)
    unmade: list[Composition] = [*untrained_parts(composition), *_merges(composition)]
    if unmade:
        raise XittError(
            f"{text}: {show(unmade[0])} has to be made first: xitt compose --train or --save does"
        )
    if repeated := [name for name in dict.fromkeys(leaves) if leaves.count(name) > 1]:
        raise XittError(f"{text}: {', '.join(repeated)} stands twice; each module may stand once")
    deep = [inner for part in composition.parts for inner in part.parts]
    if any(_fusions(inner) for inner in deep):
        raise XittError(
            f"{text}: a fusion stands in one stack with everything else, bottom first, as in a >"
            " f(b, c) > d; a fusion of fusions has no proven form"
        )


def _check_scaled(composition: Scaled, methods: Mapping[str, Choice]) -> None:
    """A number before anything but one update that adds up."""
    text, part = show(composition), composition.part
    wrong = next((name for name in names(part) if not methods[name].spec.adds_up), None)
    if wrong or not isinstance(part, Part):
        raise XittError(
            f"{text}: a number stands before a low-rank update; {wrong or show(part)} is none, and"
            f" what it says isn't linear in its weights: write {show(part)}"
        )
    if not math.isfinite(composition.weight):
        raise XittError(f"{text}: {composition.weight} is no number to multiply by")


def _check_chain(composition: Stack | Sum, methods: Mapping[str, Choice]) -> None:
    """A stack or a sum without fusions."""
    text, leaves = show(composition), _leaves(composition)
    specs = {name: methods[name].spec for name in leaves}
    with_updates = [
        part for part in composition.parts if any(specs[name].is_update for name in names(part))
    ]
    if isinstance(composition, Stack) and len(with_updates) > 1:
        raise XittError(
            f"{text}: low-rank updates don't stack, the library's form multiplies them; "
            f"write {_instead(composition, specs)}"
        )
    if isinstance(composition, Sum):
        if any(not method.is_update for method in specs.values()):
            raise XittError(
                f"{text}: a sum needs low-rank updates on both sides; bottlenecks stack: "
                f"write {_instead(composition, specs)}"
            )
        if not all(method.adds_up for method in specs.values()):
            raise XittError(f"{text}: magnitudes of DoRAs do not add up; sum lora modules instead")
    bottlenecks = [name for name in leaves if specs[name].is_bottleneck]
    if wrong := [name for name in bottlenecks[1:] if specs[name].bottom_only]:
        raise XittError(
            f"{text}: {specs[wrong[0]].bottom_only}; put {wrong[0]} at the bottom of the stack and"
            " modules of seq_bn above it"
        )
    for part in composition.parts:
        _check(part, methods)


def _check_among(composition: Stack | Sum, methods: Mapping[str, Choice]) -> None:
    """A fusion among other parts: bottlenecks may stand below and above one of bottlenecks, updates
    beside either."""
    text = show(composition)
    fusion, *more = [part for part in composition.parts if isinstance(part, Fuse)]
    rest = [part for part in composition.parts if part is not fusion]
    specs = {name: methods[name].spec for name in names(composition)}
    if more or any(_fusions(part) for part in rest):
        raise XittError(f"{text}: two fusions in one composition have no proven form")
    for part in composition.parts:
        _check(part, methods)
    beside = [name for part in rest for name in names(part)]
    updates = [name for name in beside if specs[name].is_update]
    if specs[fusion.by].fuses_updates and updates:
        raise XittError(
            f"{text}: {fusion.by} weights its own updates only, not {', '.join(updates)}; make it"
            f" one update first: xitt compose '{show(fusion)}' --save NAME"
        )
    if isinstance(composition, Sum):
        raise XittError(
            f"{text}: a sum needs low-rank updates on both sides; write "
            f"{show(Stack(composition.parts))}"
        )
    wrong = [
        name for name in beside if specs[name].is_bottleneck and "fuse" not in specs[name].modes
    ]
    if wrong and specs[fusion.by].fuses_bottlenecks:
        raise XittError(
            f"{text}: {wrong[0]} is of {specs[wrong[0]].name}, and only bottlenecks that can be"
            " fused have a proven form below or above a fusion"
        )
    if sum(any(name in updates for name in names(part)) for part in rest) > 1:
        raise XittError(
            f"{text}: low-rank updates don't stack; put them into one sum: ({' + '.join(updates)})"
        )


def _check_fuse(composition: Fuse, methods: Mapping[str, Choice]) -> None:
    """A fusion alone: over single modules of its own engine, of methods that can be fused."""
    text = show(composition)
    parts = [part.name for part in composition.parts if isinstance(part, Part)]
    if len(parts) < len(composition.parts):
        raise XittError(f"{text}: a fusion has a proven form over single modules only")
    specs = {methods[part].spec.name: methods[part].spec for part in parts}
    engines = {method.engine for method in specs.values()}
    by = methods[composition.by].spec.engine
    if (by, engines) not in (("fusion", {"adapters"}), ("weights", {"peft"})):
        raise XittError(f"{text}: {composition.by} is no fusion of modules of {', '.join(specs)}")
    wrong = [method for method in specs.values() if "fuse" not in method.modes]
    if wrong or (by == "fusion" and len(specs) > 1):
        raise XittError(
            f"{text}: modules of {', '.join(specs)} can't be fused; fuse modules of one method that"
            " has mode fuse"
        )


# -- what is in a composition ----------------------------------------------------------------------


def _fusions(composition: Composition) -> list[Fuse]:
    """The fusions of a composition."""
    inner = [fusion for part in composition.parts for fusion in _fusions(part)]
    return [composition, *inner] if isinstance(composition, Fuse) else inner


def _merges(composition: Composition) -> list[Merge]:
    """The merges of a composition, outermost only."""
    if isinstance(composition, Merge):
        return [composition]
    return [merge for part in composition.parts for merge in _merges(part)]


def _leaves(composition: Composition) -> list[str]:
    """The names, as often as they stand there."""
    if isinstance(composition, Part):
        return [composition.name]
    inner = [name for part in composition.parts for name in _leaves(part)]
    return [*inner, composition.by] if isinstance(composition, Fuse) else inner


def _instead(composition: Composition, specs: Mapping[str, Method]) -> str:
    """The form that runs: the updates summed, where the first of them stood, and everything else
    stacked."""
    stack: list[Composition] = []
    updates = tuple(Part(name) for name in names(composition) if specs[name].is_update)
    for name in names(composition):
        if not specs[name].is_update:
            stack.append(Part(name))
        elif Part(name) == updates[0]:
            stack.append(Sum(updates) if len(updates) > 1 else updates[0])
    return show(Stack(tuple(stack)) if len(stack) > 1 else stack[0])
