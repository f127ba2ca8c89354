"""The text form of expressions: written, and read with errors that point at the character."""

from __future__ import annotations

import math
import re

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.modules.composition.nodes import (
    FULL,
    FUSE,
    LANG,
    MERGES,
    Composition,
    Fuse,
    Merge,
    Nothing,
    Part,
    Scaled,
    Stack,
    Sum,
    chain,
    names,
    scale,
    weights,
)

LARGEST_OPTION = {"rank": 4096, "seed": 2**31 - 1}
DEEPEST = 40  # parentheses within parentheses
LONGEST = 10_000  # characters of an expression
HEAVIEST = 1e30  # that a module may be multiplied by; float32 ends at 3e38


def show(composition: Composition) -> str:
    """The text form; `parse(show(c)) == c`."""
    match composition:
        case Nothing():
            return "none"
        case Part(name):
            return _word(name)
        case Stack(parts):
            return " > ".join(show(part) for part in parts)
        case Sum(parts):
            return "".join(_term(part, first=index == 0) for index, part in enumerate(parts))
        case Scaled(part, weight):
            inner = show(part) if isinstance(part, Part | Fuse | Merge) else f"({show(part)})"
            return f"{_number(weight)}*{inner}"
        case Fuse(parts, by):
            name = f'"{by}"' if by in (FUSE, *MERGES) else _word(by) if by else FUSE
            return f"{name}({', '.join(show(part) for part in parts)})"
        case Merge(how, parts, options):
            words = [
                *(show(part) for part in parts),
                *(f"{name}={_number(value)}" for name, value in options),
            ]
            return f"{how}({', '.join(words)})"


def _number(value: float) -> str:
    """A number whole: 2, not 2.0; else every digit that it takes to read it back; the full rank by
    its word."""
    if value == FULL:
        return "full"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def _word(name: str) -> str:
    """A name as it is written: in quotes where it would be read as something else."""
    return name if _NAME.fullmatch(name) and name != "none" else f'"{name}"'


def _term(part: Composition, *, first: bool) -> str:
    """A term of a sum with its sign before it."""
    if isinstance(part, Scaled) and part.weight < 0 and not first:
        positive = scale(part.part, -part.weight)
        return (
            f" - {show(positive)}"
            if isinstance(positive, Scaled | Part)
            else f" - ({show(positive)})"
        )
    return ("" if first else " + ") + (f"({show(part)})" if isinstance(part, Stack) else show(part))


# A number is one only before a star: names may begin with digits.
_NAME = re.compile(r"\$lang|[A-Za-z0-9_.@/][A-Za-z0-9_.@/:-]*")
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)(?=\s*\*)|
    (?P<variable>\$\w*)|(?P<name>[A-Za-z0-9_.@/][A-Za-z0-9_.@/:-]*)|"(?P<quoted>[^"]+)"|(?P<sign>[>+*(),=-]))""",
    re.X,
)
Token = tuple[str, str, int]  # kind, text, place


def parse(text: str) -> Composition:
    """The composition written in `text`; a `XittError` that points at the character where it goes
    wrong."""
    return _Parser(text).whole()


class _Parser:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise XittError(
                f"composition: {len(text):,} characters, more than {LONGEST:,}: {text[:60]} …"
            )
        self.text, self.index, self.depth = text, 0, 0
        self.tokens: list[Token] = []
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if not match:
                place += len(text[place:]) - len(text[place:].lstrip())
                raise self.wrong(f"unexpected {text[place]!r}", place)
            kind = match.lastgroup or ""
            self.tokens.append((kind, match[kind], match.start(kind) - (kind == "quoted")))
            place = match.end()
        self.tokens.append(("end", "", len(text)))

    def wrong(self, what: str, place: int | None = None) -> XittError:
        """The error, pointing at a character; that of the present token where none is given."""
        place = self.tokens[self.index][2] if place is None else place
        return XittError(
            f"composition: {what} at character {place + 1}\n  {self.text}\n  {' ' * place}^\nWrite"
            " 'none', 'a', 'a > b' (stack, bottom first), 'a + b' (sum), '0.6*a - 0.2*b'"
            " (weighted), 'f(a, b)' (fusion f), 'fuse(a, b)' (a new one) or one of"
            f" {', '.join(MERGES)}: 'ties(a, b, density=0.3)'."
        )

    def signs(self, wanted: str, ahead: int = 0) -> bool:
        """Whether the token `ahead` is one of the signs."""
        kind, value, _ = self.tokens[min(self.index + ahead, len(self.tokens) - 1)]
        return kind == "sign" and value in wanted

    def whole(self) -> Composition:
        """Everything up to the end."""
        expression = self.stack()
        if self.tokens[self.index][0] != "end":
            raise self.wrong(f"unexpected {self.tokens[self.index][1]!r}")
        return expression

    def stack(self) -> Composition:
        """Sums with > between them."""
        parts = [self.sum()]
        while self.signs(">"):
            self.index += 1
            parts.append(self.sum())
        return chain(Stack, parts) if len(parts) > 1 else parts[0]

    def sum(self) -> Composition:
        """Products with + or - between them; the first may have a minus."""
        parts = [self.product()]
        while self.signs("+-"):
            minus = self.signs("-")
            self.index += 1
            parts.append(scale(self.product(), -1.0) if minus else self.product())
        return chain(Sum, parts) if len(parts) > 1 else parts[0]

    def product(self) -> Composition:
        """A part, with numbers and stars before it or without."""
        weight, start = 1.0, self.index
        while self.signs("-") or self.tokens[self.index][0] == "number":
            if self.signs("-"):
                weight = -weight
                self.index += 1
                continue
            weight *= float(self.tokens[self.index][1])
            self.index += 2  # a star follows a number
        factor = self.atom()
        products = [abs(weight * inner) for inner in weights(factor).values()]
        heaviest = max(products, default=abs(weight))
        if not heaviest <= HEAVIEST:
            raise self.wrong(
                f"{heaviest:g} is no number to multiply a module by; {HEAVIEST:g} is the most,",
                self.tokens[start][2],
            )
        if weight != 1 and isinstance(factor, Nothing):
            raise self.wrong("'none' has nothing to multiply", self.tokens[start][2])
        return scale(factor, weight)

    def atom(self) -> Composition:
        """A name, a function or a parenthesis."""
        kind, value, _ = self.tokens[self.index]
        called = self.signs("(", 1)
        if kind in ("name", "quoted", "variable"):
            if kind == "variable" and value != LANG:
                raise self.wrong(unknown("variable", value, [LANG]))
            if called and (kind != "name" or value != "none"):
                return self.function(value if kind == "name" else "", value)
            self.index += 1
            return Nothing() if (kind, value) == ("name", "none") else Part(value)
        if self.signs("("):
            self.deeper()
            self.index += 1
            inner = self.stack()
            if not self.signs(")"):
                raise self.wrong("a ')' is missing")
            self.index, self.depth = self.index + 1, self.depth - 1
            return inner
        raise self.wrong("a module's name, 'none' or '(' was expected")

    def deeper(self) -> None:
        """One parenthesis more."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise self.wrong(f"more than {DEEPEST} parentheses within each other")

    def function(self, how: str, name: str) -> Composition:
        """A merge, or a fusion by name; `how` is empty where the name stood in quotes."""
        self.deeper()
        start = self.index
        self.index += 2
        parts: list[Composition] = []
        options: dict[str, tuple[float, int]] = {}
        while True:
            if self.tokens[self.index][0] == "name" and self.signs("=", 1):
                option, place = self.tokens[self.index][1], self.tokens[self.index][2]
                if option in options:
                    raise self.wrong(f"{option} stands twice")
                options[option] = (self.number(full=option == "rank"), place)
            elif options:
                raise self.wrong("a part stands before the options; 'option=number' was expected")
            else:
                parts.append(self.stack())
            if self.signs(")"):
                break
            if not self.signs(","):
                raise self.wrong("',' or ')' was expected")
            self.index += 1
        self.index, self.depth = self.index + 1, self.depth - 1
        if any(isinstance(part, Nothing) for part in parts) or not parts:
            raise self.wrong(f"{name} needs modules, and 'none' is none", self.tokens[start][2])
        if any(LANG in names(part) for part in parts):
            raise self.wrong(
                f"{name} is made once, and {LANG} is another module in each language,",
                self.tokens[start][2],
            )
        if how not in MERGES:
            if options:
                first, place = next((option, place) for option, (_, place) in options.items())
                raise self.wrong(
                    f"a fusion has no options, not {first!r}; {unknown('merge', name, MERGES)}",
                    place,
                )
            return Fuse(tuple(parts), "" if how == FUSE else name)
        return self.merge(how, parts, options, start)

    def number(self, *, full: bool) -> float:
        """The value of an option, past its name and the sign; `full`: the word of that name is
        one."""
        self.index += 2
        if full and self.tokens[self.index][1] == "full":
            self.index += 1
            return FULL
        minus = self.signs("-")
        self.index += minus
        try:
            value = float(self.tokens[self.index][1])
        except ValueError:
            raise self.wrong(
                "a number or 'full' was expected" if full else "a number was expected"
            ) from None
        if not math.isfinite(value):
            raise self.wrong("a finite number was expected")
        self.index += 1
        return -value if minus else value

    def merge(
        self, how: str, parts: list[Composition], options: dict[str, tuple[float, int]], start: int
    ) -> Merge:
        """A merge, its options checked one by one, so that the error points at the one that is
        wrong."""
        for option, (value, place) in options.items():
            if wrong := _wrong_option(how, option, value):
                raise self.wrong(f"{how}: {wrong}", place)
        if MERGES[how].fitted and (
            weighted := next((part for part in parts if isinstance(part, Scaled)), None)
        ):
            raise self.wrong(
                f"{how} finds the weights itself; write {show(weighted.part)} without its number,",
                self.tokens[start][2],
            )
        shares = [part.weight if isinstance(part, Scaled) else 1.0 for part in parts]
        total = sum(shares)
        if (
            not total
            or not math.isfinite(1 / total)
            or abs(total) < 1e-9 * max(abs(share) for share in shares)
        ):
            raise self.wrong(
                f"{how} is a weighted mean, and its weights sum to nothing,", self.tokens[start][2]
            )
        changed = {
            name: value
            for name, (value, _) in options.items()
            if value != MERGES[how].options[name]
        }
        return Merge(how, tuple(parts), tuple(sorted(changed.items())))


def _wrong_option(how: str, name: str, value: float) -> str:
    """What is wrong with an option of a merge; empty where nothing is."""
    if name not in MERGES[how].options:
        return unknown("option", name, MERGES[how].options)
    if name == "density" and not 0 < value <= 1:
        return f"density is a share above 0, up to 1, not {value:g}"
    if name == "rank" and value == FULL:
        return ""
    if name in ("rank", "seed") and value > LARGEST_OPTION[name]:
        return f"{name} is {LARGEST_OPTION[name]:,} at most, not {value:g}"
    if name in ("rank", "seed") and (value != int(value) or value < (name == "rank")):
        return f"{name} is a whole number{', 1 or more' if name == 'rank' else ''}, not {value:g}"
    return ""
