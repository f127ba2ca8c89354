"""The kinds of task, one file each: what its examples become, what stands above the encoder, what
is learnt, predicted and scored. `KINDS[name]` holds the record of each.

A kind is found by its name: its row in `tasks/kinds.py` and the `KIND` of the file called so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from adapters_xitt import tasks
from adapters_xitt.kinds.record import Kind


class _Kinds(Mapping[str, Kind]):
    """Name → record, whose file is imported when it is asked for."""

    def __getitem__(self, name: str) -> Kind:
        if name not in tasks.KINDS:
            raise KeyError(name)
        return import_module(f"adapters_xitt.kinds.{name}").KIND

    def __iter__(self) -> Iterator[str]:
        return iter(tasks.KINDS)

    def __len__(self) -> int:
        return len(tasks.KINDS)


KINDS = _Kinds()
