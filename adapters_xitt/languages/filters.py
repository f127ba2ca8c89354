"""Languages chosen by the columns of the table: `{joshi: "<=2", family: Uralic}`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from adapters_xitt.errors import Problems, XittError, unknown
from adapters_xitt.languages.table import LANGUAGES, Language, language

COLUMNS = tuple(field.name for field in fields(Language))
NUMBERS = ("cc100_gib", "joshi", "distance")

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "": operator.eq,
}
_COMPARISON = re.compile(r"\s*(?P<sign>[<>]=?|)\s*(?P<number>\d+(?:\.\d+)?)\s*")

# Whether a value of the table, which is known, is one that is asked for.
Condition = Callable[[Any], bool]


@dataclass(frozen=True)
class Selection:
    """What a filter says of some languages, in their order."""

    selected: tuple[str, ...]
    # those that no known value excludes, but of which the table doesn't know all that is asked
    unknown: tuple[str, ...]


def select(codes: Iterable[str], wanted: Mapping[str, Any]) -> Selection:
    """The languages for which every column of `wanted` holds: a comparison (`"<=2"`) or a value of
    a column of numbers, a name of a column of words, or a list of values, of which one must hold.
    What the table doesn't know is never selected, and told. A `XittError` where the filter can't be
    read, or a code has no row."""
    conditions = _conditions(wanted)
    selected: list[str] = []
    not_known: list[str] = []
    for code in codes:
        values = {column: getattr(language(code), column) for column in conditions}
        known = {column: value for column, value in values.items() if value is not None}
        if all(conditions[column](value) for column, value in known.items()):
            (selected if len(known) == len(values) else not_known).append(code)
    return Selection(tuple(selected), tuple(not_known))


def check_filter(wanted: Any) -> None:
    """A `XittError` that lists whatever is wrong with a filter, and what could stand there."""
    _conditions(wanted)


def _conditions(wanted: Any) -> dict[str, Condition]:
    """Column -> the condition on its values."""
    if not isinstance(wanted, Mapping) or not wanted:
        raise XittError(
            "languages are chosen by a list of codes, or by columns of their table, as in"
            f' {{joshi: "<=2"}}; the columns are {", ".join(COLUMNS)}'
        )
    problems, conditions = Problems("filter of languages"), {}
    for column, value in wanted.items():
        if column not in COLUMNS:
            problems.add(unknown("column", str(column), COLUMNS))
            continue
        read = _number_condition if column in NUMBERS else _word_condition
        try:
            conditions[column] = read(column, value)
        except XittError as error:
            problems.add(str(error))
    problems.raise_if_any()
    return conditions


def _number_condition(column: str, value: Any) -> Condition:
    """A comparison with a number, or one of several numbers."""
    if isinstance(value, list | tuple) and value:
        numbers = [_comparison(column, each) for each in value]
        if any(sign for sign, _ in numbers):
            raise XittError(f"{column}: a list is of numbers alone, not {value!r}")
        exact = {number for _, number in numbers}
        return lambda known: known in exact
    sign, number = _comparison(column, value)
    return lambda known: _COMPARISONS[sign](known, number)


def _comparison(column: str, value: Any) -> tuple[str, float]:
    """The sign, empty for equality, and the number of a comparison."""
    match = None
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        match = _COMPARISON.fullmatch(str(value))
    if match is None:
        raise XittError(
            f'{column}: expected a number, a comparison ("<2", "<=2", ">2", ">=2") or a list of'
            f" numbers, not {value!r}"
        )
    return match["sign"], float(match["number"])


def _word_condition(column: str, value: Any) -> Condition:
    """One of several names that the column has."""
    names = value if isinstance(value, list | tuple) and value else [value]
    known = {name for entry in LANGUAGES.values() for name in _names(column, entry)}
    for name in names:
        if str(name).lstrip()[:1] in ("<", ">"):
            raise XittError(
                f"{column}: {name!r}: words can't be compared; the columns of numbers are"
                f" {', '.join(NUMBERS)}"
            )
        if not isinstance(name, str) or name not in known:
            raise XittError(unknown(column, str(name), sorted(known), shown=len(known)))
    asked = frozenset(names)
    return lambda value: not asked.isdisjoint(_parts(column, value))


def _names(column: str, entry: Language) -> tuple[str, ...]:
    """What selects a language by a column of words."""
    value = getattr(entry, column)
    return () if value is None else _parts(column, value)


def _parts(column: str, value: str) -> tuple[str, ...]:
    """The names of a value: itself; of a family its top (`Indo-European` and `IE` of `IE: Slavic`,
    `Basque` of `Basque (isolate)`) and its branch."""
    if column != "family":
        return (value,)
    top, _, branch = value.partition(": ")
    names = [value, top.partition(" (")[0], branch, "Indo-European" if top == "IE" else ""]
    return tuple(name for name in dict.fromkeys(names) if name)
