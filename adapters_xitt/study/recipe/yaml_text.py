"""YAML as recipes and overrides are written: mappings, lists and scalars, nothing that grows when
it is read.

Scalars mean what YAML 1.2's core schema says, so that `1e-3` is a number and `no` is Norwegian.
Anchors, aliases, tags and further documents are refused; size and depth are bounded before a value
is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

from adapters_xitt.errors import XittError

MOST_BYTES = 256 * 2**10  # of a recipe; the longest that is shipped has 4 kB
DEEPEST = 16  # mappings and lists within each other; a recipe has six
_INTEGER = re.compile(r"[-+]?[0-9]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {
    "": None,
    "~": None,
    "null": None,
    "Null": None,
    "NULL": None,
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}

Place = tuple[str | int, ...]  # the keys and indices that lead to a value


class Document:
    """The value that a YAML text writes, the line of every key and item, and what is wrong but left
    it readable."""

    def __init__(self, text: str) -> None:
        """Raises a `yaml.YAMLError` where the text can't be read, with the line as its
        `problem_mark`."""
        self.lines: dict[Place, int] = {}
        self._repeats: dict[Place, list[int]] = {}
        if len(text) > MOST_BYTES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {MOST_BYTES:,} characters; no recipe is so long"
            )
        self._events = _check(yaml.parse(text, Loader=yaml.SafeLoader))
        first = next(self._events, None)
        self.value = self._value(first, ()) if first is not None else None
        list(self._events)  # a second document would stand behind it

    @property
    def problems(self) -> list[tuple[Place, str]]:
        """Keys that are written more than once; the first value was taken."""
        return [
            (
                item,
                (
                    f"the key {'.'.join(map(str, item))} is written more than once, on lines"
                    f" {self.lines[item]},"
                    f" {', '.join(map(str, lines[:9]))}{' …' if lines[9:] else ''}; keep one of"
                    " them"
                ),
            )
            for item, lines in self._repeats.items()
        ]

    def _value(self, event: yaml.Event, place: Place) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            return scalar(event.value) if event.implicit[0] else event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(place)
        return self._mapping(place)

    def _list(self, place: Place) -> list[Any]:
        values: list[Any] = []
        for event in iter(lambda: next(self._events), None):
            if isinstance(event, yaml.SequenceEndEvent):
                break
            item = (*place, len(values))
            self.lines[item] = event.start_mark.line + 1
            values.append(self._value(event, item))
        return values

    def _mapping(self, place: Place) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in iter(lambda: next(self._events), None):
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                raise yaml.MarkedYAMLError(
                    problem="a list or mapping where a key belongs", problem_mark=event.start_mark
                )
            item, line = (*place, event.value), event.start_mark.line + 1
            if event.value in values:
                self._repeats.setdefault(item, []).append(line)
                self._skip()
                continue
            self.lines[item] = line
            values[event.value] = self._value(next(self._events), item)
        return values

    def _skip(self) -> None:
        """Passes over one value."""
        depth = 0
        for event in self._events:
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
                event, yaml.CollectionEndEvent
            )
            if not depth:
                return


def scalar(text: str) -> Any:
    """A plain scalar's value by YAML 1.2's core schema, in decimal notation; what is no finite
    number stays text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and abs(float(text)) != float("inf"):
        return float(text)
    return text


def read_value(text: str) -> Any:
    """The value of an override or option; a `XittError` says why there is none."""
    try:
        document = Document(text)
    except yaml.YAMLError as error:
        raise XittError(f"{text[:200]!r}: the value is not YAML ({reason(error)})") from None
    if document.problems:
        raise XittError(f"{text[:200]!r}: {document.problems[0][1]}")
    return document.value


def reason(error: yaml.YAMLError) -> str:
    """What is wrong with a text, in one line."""
    return " ".join(
        str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split()
    )


def _check(events: Iterator[yaml.Event]) -> Iterator[yaml.Event]:
    """The events of the one document, each looked at before the next is asked for."""
    depth = documents = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise _refusal(
                event, "anchors (&) and aliases (*) are not read; write the value itself"
            )
        if getattr(event, "tag", None):
            raise _refusal(event, f"the tag {event.tag[:40]} is not read; write the value alone")
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            raise _refusal(event, "a second document; a recipe is one")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(
            event, yaml.CollectionEndEvent
        )
        if depth > DEEPEST:
            raise _refusal(event, f"more than {DEEPEST} lists or mappings within each other")
        if isinstance(event, yaml.NodeEvent | yaml.CollectionEndEvent):
            yield event


def _refusal(event: yaml.Event, problem: str) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
