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
from adapters_xitt.modules import composition as compose
from adapters_xitt.modules.composition import Composition
from adapters_xitt.modules.methods import Choice

# Methods that a stack may have at its bottom only, and why.
BOTTOM = {
    "seq_bn_inv": "the library runs the invertible module of the first of a stack only",
    "par_bn": "a bottleneck beside a block makes the library's stack forget what lies below it",
}


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
    parts = compose.names(composition)
    engines = {name: methods[name].row.engine for name in parts}
    if any(engine == "full" for engine in engines.values()) and len(parts) > 1:
        raise XittError(
            f"{compose.show(composition)}: a fully fine-tuned encoder composes with nothing"
        )
    _check(composition, methods)
    touched = [
        layer
        for name in parts
        if engines[name] != "full"
        for layer in methods[name].adapted(layers)
    ]
    if any(methods[name].name == "seq_bn_inv" for name in parts):
        touched.append(0)  # its invertible module acts on what enters the first layer
    full = next((name for name in parts if engines[name] == "full"), None)
    updates = tuple(name for name in parts if engines[name] == "peft")
    own = compose.weights(composition)
    return AdapterSetup(
        _stacked(composition, engines),
        updates,
        full,
        0 if full else min(touched, default=layers),
        next((name for name in parts if engines[name] in ("fusion", "weights")), None),
        tuple(own[name] for name in updates) if any(own[name] != 1 for name in updates) else (),
    )


def _stacked(
    composition: Composition, engines: Mapping[str, str]
) -> tuple[str | tuple[str, ...], ...]:
    """The modules of `adapters`, bottom first; those under a fusion as one."""
    match composition:
        case compose.Part(name):
            return (name,) if engines[name] == "adapters" else ()
        case compose.Fuse(parts, by) if engines[by] == "fusion":
            return (tuple(part.name for part in parts),)
        case _:
            return tuple(
                one for part in getattr(composition, "parts", ()) for one in _stacked(part, engines)
            )


def _check(composition: Composition, methods: Mapping[str, Choice]) -> None:
    """Refuses what the libraries' forms compute otherwise: each case with its reason."""
    text, leaves = compose.show(composition), _leaves(composition)
    if open_ := next(
        (one for one in (*compose.untrained(composition), *_merges(composition))), None
    ):
        raise XittError(
            f"{text}: {compose.show(open_)} has to be made first: xitt compose --train or --save"
            " does"
        )
    if repeated := [name for name in dict.fromkeys(leaves) if leaves.count(name) > 1]:
        raise XittError(f"{text}: {', '.join(repeated)} stands twice; each module may stand once")
    engines = {name: methods[name].row.engine for name in leaves}
    if any(
        _fusions(one)
        for part in getattr(composition, "parts", ())
        for one in getattr(part, "parts", ())
    ):
        raise XittError(
            f"{text}: a fusion stands in one stack with everything else, bottom first, as in a >"
            " f(b, c) > d; a fusion of fusions has no proven form"
        )
    match composition:
        case compose.Part(name) if engines[name] in ("fusion", "weights"):
            raise XittError(
                f"{text}: a fusion runs over the modules it was trained on: write {name}(a, b, …)"
            )
        case compose.Scaled(part, weight):
            wrong = next(
                (
                    n
                    for n in compose.names(part)
                    if engines[n] != "peft" or methods[n].name == "dora"
                ),
                None,
            )
            if wrong or not isinstance(part, compose.Part):
                raise XittError(
                    f"{text}: a number stands before a low-rank update;"
                    f" {wrong or compose.show(part)} is none, and what it says isn't linear in its"
                    f" weights: write {compose.show(part)}"
                )
            if not math.isfinite(weight):
                raise XittError(f"{text}: {weight} is no number to multiply by")
        case compose.Fuse():
            _check_fuse(composition, methods)
        case compose.Stack() | compose.Sum() if any(
            isinstance(part, compose.Fuse) for part in composition.parts
        ):
            _check_among(composition, methods)
        case compose.Stack(parts) if (
            sum("peft" in {engines[n] for n in compose.names(p)} for p in parts) > 1
        ):
            raise XittError(
                f"{text}: low-rank updates don't stack, the library's form multiplies them; "
                f"write {_instead(composition, engines)}"
            )
        case compose.Sum(parts) if any(
            engines[n] != "peft" for p in parts for n in compose.names(p)
        ):
            raise XittError(
                f"{text}: a sum needs low-rank updates on both sides; bottlenecks stack: "
                f"write {_instead(composition, engines)}"
            )
        case compose.Sum(parts) if any(
            methods[n].name == "dora" for p in parts for n in compose.names(p)
        ):
            raise XittError(f"{text}: magnitudes of DoRAs do not add up; sum lora modules instead")
        case compose.Stack(parts) | compose.Sum(parts):
            stacked = [name for name in leaves if engines[name] == "adapters"]
            if wrong := [name for name in stacked[1:] if methods[name].name in BOTTOM]:
                raise XittError(
                    f"{text}: {BOTTOM[methods[wrong[0]].name]}; put {wrong[0]} at the bottom of the"
                    " stack and modules of seq_bn above it"
                )
            for part in parts:
                _check(part, methods)
        case _:
            pass


def _check_among(composition: compose.Stack | compose.Sum, methods: Mapping[str, Choice]) -> None:
    """A fusion among other parts: bottlenecks may stand below and above one of bottlenecks, updates
    beside either."""
    text = compose.show(composition)
    fusion, *more = [part for part in composition.parts if isinstance(part, compose.Fuse)]
    rest = [part for part in composition.parts if part is not fusion]
    engines = {name: methods[name].row.engine for name in compose.names(composition)}
    if more or any(_fusions(part) for part in rest):
        raise XittError(f"{text}: two fusions in one composition have no proven form")
    for part in composition.parts:
        _check(part, methods)
    low = [name for part in rest for name in compose.names(part) if engines[name] == "peft"]
    if engines[fusion.by] == "weights" and low:
        raise XittError(
            f"{text}: {fusion.by} weights its own updates only, not {', '.join(low)}; make it one"
            f" update first: xitt compose '{compose.show(fusion)}' --save NAME"
        )
    if isinstance(composition, compose.Sum):
        raise XittError(
            f"{text}: a sum needs low-rank updates on both sides; write "
            f"{compose.show(compose.Stack(composition.parts))}"
        )
    wrong = [
        name
        for part in rest
        for name in compose.names(part)
        if engines[name] == "adapters" and "fuse" not in methods[name].row.modes
    ]
    if wrong and engines[fusion.by] == "fusion":
        raise XittError(
            f"{text}: {wrong[0]} is of {methods[wrong[0]].name}, and only bottlenecks that can be"
            " fused have a proven form below or above a fusion"
        )
    if sum(any(name in low for name in compose.names(part)) for part in rest) > 1:
        raise XittError(
            f"{text}: low-rank updates don't stack; put them into one sum: ({' + '.join(low)})"
        )


def _fusions(composition: Composition) -> list[compose.Fuse]:
    """The fusions of a composition."""
    own = [composition] if isinstance(composition, compose.Fuse) else []
    return own + [one for part in getattr(composition, "parts", ()) for one in _fusions(part)]


def _merges(composition: Composition) -> list[compose.Merge]:
    """The merges of a composition."""
    own = [composition] if isinstance(composition, compose.Merge) else []
    return own or [one for part in getattr(composition, "parts", ()) for one in _merges(part)]


def _check_fuse(composition: compose.Fuse, methods: Mapping[str, Choice]) -> None:
    text = compose.show(composition)
    if not all(isinstance(part, compose.Part) for part in composition.parts):
        raise XittError(f"{text}: a fusion has a proven form over single modules only")
    kinds = dict.fromkeys(methods[part.name].name for part in composition.parts)
    over, by = (
        {methods[part.name].row.engine for part in composition.parts},
        methods[composition.by].row.engine,
    )
    if (by, over) not in (("fusion", {"adapters"}), ("weights", {"peft"})):
        raise XittError(f"{text}: {composition.by} is no fusion of modules of {', '.join(kinds)}")
    wrong = [
        name
        for name in kinds
        if "fuse"
        not in methods[
            next(part.name for part in composition.parts if methods[part.name].name == name)
        ].row.modes
    ]
    if wrong or (by == "fusion" and len(kinds) > 1):
        raise XittError(
            f"{text}: modules of {', '.join(kinds)} can't be fused; fuse modules of one method that"
            " has mode fuse"
        )


def _leaves(composition: Composition) -> list[str]:
    """The names, as often as they stand there."""
    own = [composition.by] if isinstance(composition, compose.Fuse) else []
    parts = getattr(composition, "parts", ())
    return [name for part in parts for name in _leaves(part)] + own or list(
        compose.names(composition)
    )


def _instead(composition: Composition, engines: Mapping[str, str]) -> str:
    """The form that runs: the updates summed, where the first of them stood, and everything else
    stacked."""
    found: list[Composition] = []
    updates = tuple(
        compose.Part(name) for name in compose.names(composition) if engines[name] == "peft"
    )
    for name in compose.names(composition):
        if engines[name] != "peft":
            found.append(compose.Part(name))
        elif compose.Part(name) == updates[0]:
            found.append(compose.Sum(updates) if len(updates) > 1 else updates[0])
    return compose.show(compose.Stack(tuple(found)) if len(found) > 1 else found[0])
