"""The expressions: frozen trees, and what can be asked of them and done to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

LANG = "$lang"  # the module of the language that is evaluated
FULL = float("inf")  # a rank as high as the matrices have, written `full`
FUSE = "fuse"  # a fusion without a name: nobody has trained it


@dataclass(frozen=True)
class MergeMethod:
    """A way to make one module of several without training: all are weighted means of their
    parts."""

    about: str
    # option → default; None: worked out
    options: Mapping[str, float | None] = field(default_factory=dict)
    fitted: bool = False  # whether its weights are searched on a target's selection split


MERGES: dict[str, MergeMethod] = {
    "mean": MergeMethod(
        "the mean: exact for low-rank updates; of parameters for bottlenecks born alike"
    ),
    "svd": MergeMethod("the closest update of a rank to the mean", {"rank": None}),
    "magnitude": MergeMethod(
        "the mean of what is largest in each update", {"density": 0.5, "rank": None}
    ),
    "ties": MergeMethod(
        "the mean of what is largest in each and of one sign (TIES, Yadav et al. 2023)",
        {"density": 0.5, "rank": None},
    ),
    "dare": MergeMethod(
        "the mean of what a draw leaves of each, rescaled (DARE, Yu et al. 2024)",
        {"density": 0.5, "seed": 0, "rank": None},
    ),
    "search": MergeMethod(
        "the sum with the weights that score best on a target's selection split (task arithmetic,"
        " Ilharco et al. 2023)",
        fitted=True,
    ),
}


class Node:
    """A node of an expression."""

    if TYPE_CHECKING:

        @property
        def parts(self) -> tuple[Composition, ...]:
            """What it is made of, in order."""


class Leaf(Node):
    """A node that is made of nothing else."""

    @property
    def parts(self) -> tuple[Composition, ...]:
        return ()


@dataclass(frozen=True)
class Nothing(Leaf):
    """The encoder as it is."""


@dataclass(frozen=True)
class Part(Leaf):
    """One module, by name."""

    name: str


@dataclass(frozen=True)
class Stack(Node):
    """Modules on top of each other in every layer, bottom first."""

    parts: tuple[Composition, ...]


@dataclass(frozen=True)
class Sum(Node):
    """Updates of one weight matrix added up: W + ΔW₁ + ΔW₂ + …"""

    parts: tuple[Composition, ...]


@dataclass(frozen=True)
class Scaled(Node):
    """An update of a weight matrix times a number: W + w·ΔW (task arithmetic, Ilharco et al.
    2023)."""

    part: Composition
    weight: float

    @property
    def parts(self) -> tuple[Composition, ...]:
        return (self.part,)


@dataclass(frozen=True)
class Fuse(Node):
    """Modules that see the same input, their outputs weighted by a trained fusion, the module `by`;
    empty where it is still to be trained."""

    parts: tuple[Composition, ...]
    by: str


@dataclass(frozen=True)
class Merge(Node):
    """A module made of others without training: `how` is one of `MERGES`; a part may be `Scaled`,
    by its weight. Only the options that differ from the defaults stand in `options`."""

    how: str
    parts: tuple[Composition, ...]
    options: tuple[tuple[str, float], ...] = ()


Composition = Nothing | Part | Stack | Sum | Scaled | Fuse | Merge


def names(composition: Composition) -> tuple[str, ...]:
    """The modules of a composition, bottom or first one first, each once."""
    match composition:
        case Nothing():
            return ()
        case Part(name):
            return (name,)
        case Scaled(part, _):
            return names(part)
        case Fuse(parts, by) if by:  # the fusion last: the head on top is its own
            return tuple(dict.fromkeys([*(name for part in parts for name in names(part)), by]))
        case _:
            return tuple(dict.fromkeys(name for part in composition.parts for name in names(part)))


def heads(composition: Composition) -> tuple[str, ...]:
    """The modules whose heads may stand on top, the first choice first: of a stack the top's, of a
    fusion its own, of everything else the last part's that has one."""
    match composition:
        case Nothing():
            return ()
        case Part(name):
            return (name,)
        case Stack(parts):
            return heads(parts[-1])
        case Fuse(_, by) if by:
            return (by,)
        case _:
            return tuple(
                dict.fromkeys(name for part in reversed(composition.parts) for name in heads(part))
            )


def untrained_parts(composition: Composition) -> list[Fuse | Merge]:
    """What in a composition has still to be trained or searched on a task, innermost first."""
    inner = [node for part in composition.parts for node in untrained_parts(part)]
    match composition:
        case Fuse(_, by) if not by:
            return [*inner, composition]
        case Merge(how) if MERGES[how].fitted:
            return [*inner, composition]
    return inner


def fusion_parts(composition: Composition, fusion: str) -> tuple[str, ...]:
    """The modules that a fusion of the composition is over, in order; none where it is not one of
    its parts."""
    if isinstance(composition, Fuse) and composition.by == fusion:
        return tuple(name for part in composition.parts for name in names(part))
    for part in composition.parts:
        if inner := fusion_parts(part, fusion):
            return inner
    return ()


def rename(composition: Composition, new: Callable[[str], Composition]) -> Composition:
    """The composition with every part replaced by `new(name)`; a stack within a stack becomes one
    stack."""
    match composition:
        case Nothing():
            return composition
        case Part(name):
            return new(name)
        case Stack(parts):
            return chain(Stack, [rename(part, new) for part in parts])
        case Sum(parts):
            return chain(Sum, [rename(part, new) for part in parts])
        case Scaled(part, weight):
            return scale(rename(part, new), weight)
        case Fuse(parts, by):
            renamed = tuple(rename(part, new) for part in parts)
            fusion = new(by) if by else None
            return Fuse(renamed, fusion.name if isinstance(fusion, Part) else "")
        case Merge(how, parts, options):
            return Merge(how, tuple(rename(part, new) for part in parts), options)


def replace_unmade(
    composition: Composition, make: Callable[[Fuse | Merge], Composition]
) -> Composition:
    """The composition with everything that has to be made first, merges and untrained fusions,
    replaced by `make(it)`, innermost first."""
    match composition:
        case Nothing() | Part():
            return composition
        case Stack(parts):
            return chain(Stack, [replace_unmade(part, make) for part in parts])
        case Sum(parts):
            return chain(Sum, [replace_unmade(part, make) for part in parts])
        case Scaled(part, weight):
            return scale(replace_unmade(part, make), weight)
        case Fuse(parts, by):
            fusion = Fuse(tuple(replace_unmade(part, make) for part in parts), by)
            return fusion if by else make(fusion)
        case Merge(how, parts, options):
            return make(Merge(how, tuple(replace_unmade(part, make) for part in parts), options))


def chain(node: type[Stack] | type[Sum], parts: list[Composition]) -> Composition:
    """`node` over `parts`; both operators are associative, and `none` is their neutral element."""
    flat: list[Composition] = []
    for part in parts:
        if isinstance(part, node):
            flat.extend(part.parts)
        elif not isinstance(part, Nothing):
            flat.append(part)
    if not flat:
        return Nothing()
    return flat[0] if len(flat) == 1 else node(tuple(flat))


def scale(composition: Composition, weight: float) -> Composition:
    """A composition times a number: a sum term by term, a product multiplied out, 1 nothing at
    all."""
    match composition:
        case Nothing():
            return composition
        case Scaled(part, inner):
            return scale(part, inner * weight)
        case Sum(parts):
            return Sum(tuple(scale(part, weight) for part in parts))
        case _:
            return composition if weight == 1 else Scaled(composition, float(weight))


def weights(composition: Composition) -> dict[str, float]:
    """The number that each module is multiplied by."""
    match composition:
        case Part(name):
            return {name: 1.0}
        case Scaled(part, weight):
            return {name: inner * weight for name, inner in weights(part).items()}
        case _:
            return {
                name: inner for part in composition.parts for name, inner in weights(part).items()
            }
