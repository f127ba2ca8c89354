"""The tasks, one row each: what they are, where their files lie, which English data trains them,
how they are scored.

Rows only: nothing here reads a file. `task(name)` finds a row, `TASKS` holds them all in reading
order."""

from __future__ import annotations

from adapters_xitt.errors import XittError, unknown
from adapters_xitt.tasks.benchmarks import BENCHMARKS, Benchmark
from adapters_xitt.tasks.beyond import BEYOND
from adapters_xitt.tasks.conventions import Convention
from adapters_xitt.tasks.demo import DEMO
from adapters_xitt.tasks.intermediate import INTERMEDIATE
from adapters_xitt.tasks.kinds import KINDS, SEEN
from adapters_xitt.tasks.record import Task
from adapters_xitt.tasks.xtreme import XTREME
from adapters_xitt.tasks.xtreme_r import XTREME_R

__all__ = ["BENCHMARKS", "KINDS", "SEEN", "TASKS", "Benchmark", "Convention", "Task", "task"]

TASKS: dict[str, Task] = {
    task.name: task for task in (*INTERMEDIATE, *XTREME, *XTREME_R, *BEYOND, *DEMO)
}


def task(name: str) -> Task:
    """The row called `name`; a `XittError` with the nearest name where there is none."""
    if name not in TASKS:
        raise XittError(unknown("task", name, TASKS))
    return TASKS[name]
