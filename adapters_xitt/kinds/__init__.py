"""The kinds of task, one file each: what its examples become, what stands above the encoder, what
is learnt, predicted and scored. `KINDS[name]` holds the record of each.

A kind is found by its name: its row in `tasks/kinds.py` and the `KIND` of the file called so."""

from __future__ import annotations

from importlib import import_module

from adapters_xitt import tasks
from adapters_xitt.kinds.record import Kind

KINDS: dict[str, Kind] = {
    name: import_module(f"adapters_xitt.kinds.{name}").KIND for name in tasks.KINDS
}
