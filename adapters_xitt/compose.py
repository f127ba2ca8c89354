"""Compositions: frozen expressions over named modules, their text form and its parser.

`none` · `a` · `a > b` (stack, bottom first) · `a + b` (sum of low-rank updates) · `0.6*a - 0.2*b` (weighted, task
arithmetic) · `f(a, b)` (a trained fusion f over a and b) · parentheses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from adapters_xitt.errors import XittError


@dataclass(frozen=True)
class Nothing:
    """The encoder as it is."""


@dataclass(frozen=True)
class Part:
    """One module, by name."""

    name: str


@dataclass(frozen=True)
class Stack:
    """Modules on top of each other in every layer, bottom first."""

    parts: tuple[Composition, ...]


@dataclass(frozen=True)
class Sum:
    """Updates of one weight matrix added up: W + ΔW₁ + ΔW₂ + …"""

    parts: tuple[Composition, ...]


@dataclass(frozen=True)
class Scaled:
    """An update of a weight matrix times a number: W + w·ΔW (task arithmetic, Ilharco et al. 2023)."""

    part: Composition
    weight: float

    @property
    def parts(self) -> tuple[Composition, ...]:
        return (self.part,)


@dataclass(frozen=True)
class Fuse:
    """Modules that see the same input, their outputs weighted by a trained fusion, the module `by`."""

    parts: tuple[Composition, ...]
    by: str


Composition = Nothing | Part | Stack | Sum | Scaled | Fuse


def names(composition: Composition) -> tuple[str, ...]:
    """The modules of a composition, bottom or first one first, each once."""
    match composition:
        case Nothing():
            return ()
        case Part(name):
            return (name,)
        case Stack(parts) | Sum(parts):
            return tuple(dict.fromkeys(name for part in parts for name in names(part)))
        case Scaled(part, _):
            return names(part)
        case Fuse(parts, by):  # the fusion last: the head on top is its own
            return (*dict.fromkeys(name for part in parts for name in names(part)), by)


def fused(composition: Composition, fusion: str) -> tuple[str, ...]:
    """The modules that a fusion of the composition is over, in order; none where it is not one of its parts."""
    if isinstance(composition, Fuse) and composition.by == fusion:
        return tuple(name for part in composition.parts for name in names(part))
    return next(filter(None, (fused(part, fusion) for part in getattr(composition, "parts", ()))), ())


def rename(composition: Composition, new: Callable[[str], Composition]) -> Composition:
    """The composition with every part replaced by `new(name)`; a stack within a stack becomes one stack."""
    match composition:
        case Nothing():
            return composition
        case Part(name):
            return new(name)
        case Stack(parts):
            return _flat(Stack, [rename(part, new) for part in parts])
        case Sum(parts):
            return _flat(Sum, [rename(part, new) for part in parts])
        case Scaled(part, weight):
            return scaled(rename(part, new), weight)
        case Fuse(parts, by):
            return Fuse(tuple(rename(part, new) for part in parts), new(by).name)


def _flat(block: type[Stack] | type[Sum], parts: list[Composition]) -> Composition:
    """`block` over `parts`; both operators are associative, and `none` is their neutral element."""
    flat: list[Composition] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, block) else () if isinstance(part, Nothing) else (part,))
    if not flat:
        return Nothing()
    return flat[0] if len(flat) == 1 else block(tuple(flat))


def scaled(composition: Composition, weight: float) -> Composition:
    """A composition times a number: a sum term by term, a product multiplied out, 1 nothing at all."""
    match composition:
        case Nothing():
            return composition
        case Scaled(part, own):
            return scaled(part, own * weight)
        case Sum(parts):
            return Sum(tuple(scaled(part, weight) for part in parts))
        case _:
            return composition if weight == 1 else Scaled(composition, float(weight))


def weights(composition: Composition) -> dict[str, float]:
    """The number that each module is multiplied by."""
    match composition:
        case Nothing():
            return {}
        case Part(name):
            return {name: 1.0}
        case Scaled(part, weight):
            return {name: own * weight for name, own in weights(part).items()}
        case _:
            return {name: own for part in composition.parts for name, own in weights(part).items()}


def show(composition: Composition) -> str:
    """The text form; `parse(show(c)) == c`."""
    match composition:
        case Nothing():
            return "none"
        case Part(name):
            return name
        case Stack(parts):
            return " > ".join(show(part) for part in parts)
        case Sum(parts):
            return "".join(_term(part, first=not at) for at, part in enumerate(parts))
        case Scaled(part, weight):
            return f"{weight!r}*{show(part)}" if isinstance(part, Part | Fuse) else f"{weight!r}*({show(part)})"
        case Fuse(parts, by):
            return f"{by}({', '.join(show(part) for part in parts)})"


def _term(part: Composition, *, first: bool) -> str:
    """A term of a sum with its sign before it."""
    if isinstance(part, Scaled) and part.weight < 0 and not first:
        positive = scaled(part.part, -part.weight)
        return f" - {show(positive)}" if isinstance(positive, Scaled | Part) else f" - ({show(positive)})"
    return ("" if first else " + ") + (f"({show(part)})" if isinstance(part, Stack) else show(part))


# A number is one only before a star: names may begin with digits.
_TOKEN = re.compile(r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?=\s*\*)|"
                    r"(?P<name>[A-Za-z0-9_.@/][A-Za-z0-9_.@/-]*)|(?P<sign>[>+*(),-]))")


def parse(text: str) -> Composition:
    """The composition written in `text`; a `XittError` that points at the character where it goes wrong."""
    tokens: list[tuple[str, str, int]] = []
    at = 0
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if not found:
            at += len(text[at:]) - len(text[at:].lstrip())
            raise _wrong(text, at, f"unexpected {text[at]!r}")
        kind = found.lastgroup or ""
        tokens.append((kind, found[kind], found.start(kind)))
        at = found.end()
    tokens.append(("end", "", len(text)))
    composition, rest = _stack(text, tokens)
    if rest[0][0] != "end":
        raise _wrong(text, rest[0][2], f"unexpected {rest[0][1]!r}")
    return composition


def _stack(text: str, tokens: list) -> tuple[Composition, list]:
    return _chain(text, tokens, ">", Stack, _sum)


def _sum(text: str, tokens: list) -> tuple[Composition, list]:
    return _chain(text, tokens, "+-", Sum, _product)


def _chain(text: str, tokens: list, signs: str, block: type, below: Callable) -> tuple[Composition, list]:
    part, tokens = below(text, tokens)
    parts = [part]
    while tokens[0][0] == "sign" and tokens[0][1] in signs:
        minus = tokens[0][1] == "-"
        part, tokens = below(text, tokens[1:])
        parts.append(scaled(part, -1.0) if minus else part)
    return (_flat(block, parts) if len(parts) > 1 else parts[0]), tokens


def _product(text: str, tokens: list) -> tuple[Composition, list]:
    """A part, with a number and a star before it or without; the first of a sum may have a minus."""
    if tokens[0][:2] == ("sign", "-"):
        part, tokens = _product(text, tokens[1:])
        return scaled(part, -1.0), tokens
    if tokens[0][0] == "number":
        weight = float(tokens[0][1])
        part, tokens = _product(text, tokens[2:])  # a star follows a number
        return scaled(part, weight), tokens
    return _atom(text, tokens)


def _atom(text: str, tokens: list) -> tuple[Composition, list]:
    kind, value, at = tokens[0]
    if kind == "name" and tokens[1][:2] == ("sign", "(") and value != "none":
        return _fuse(text, value, tokens[2:])
    if kind == "name":
        return (Nothing() if value == "none" else Part(value)), tokens[1:]
    if (kind, value) == ("sign", "("):
        inner, tokens = _stack(text, tokens[1:])
        if tokens[0][:2] != ("sign", ")"):
            raise _wrong(text, tokens[0][2], "a ')' is missing")
        return inner, tokens[1:]
    raise _wrong(text, at, "a module's name, 'none' or '(' was expected")


def _fuse(text: str, by: str, tokens: list) -> tuple[Composition, list]:
    """The parts of a fusion up to its closing parenthesis."""
    parts = []
    while True:
        part, tokens = _stack(text, tokens)
        parts.append(part)
        if tokens[0][:2] == ("sign", ")"):
            return Fuse(tuple(parts), by), tokens[1:]
        if tokens[0][:2] != ("sign", ","):
            raise _wrong(text, tokens[0][2], "',' or ')' was expected")
        tokens = tokens[1:]


def _wrong(text: str, at: int, what: str) -> XittError:
    return XittError(f"composition: {what} at character {at + 1}\n  {text}\n  {' ' * at}^\n"
                     "Write 'none', 'a', 'a > b' (stack, bottom first), 'a + b' (sum), '0.6*a - 0.2*b' (weighted) or "
                     "'f(a, b)' (fusion f).")
