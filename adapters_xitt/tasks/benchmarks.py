"""The benchmarks whose averages people quote: which tasks in which languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters_xitt.tasks.record import Task
from adapters_xitt.tasks.xtreme import XTREME
from adapters_xitt.tasks.xtreme_r import XTREME_R


@dataclass(frozen=True)
class Benchmark:
    """Tasks and, for each, the languages that its average is over."""

    name: str
    about: str
    rows: tuple[Task, ...]
    languages: Mapping[str, tuple[str, ...]]


def _of(name: str, about: str, names: str, *, more: bool) -> Benchmark:
    by_name = {row.name: row for row in (*XTREME, *XTREME_R)}
    rows = tuple(by_name[one] for one in names.split())
    return Benchmark(name, about, rows, {
        row.name: row.known if more else row.languages for row in rows})


BENCHMARKS: dict[str, Benchmark] = {
    "xtreme": _of("xtreme", "XTREME (Hu et al. 2020): nine tasks, forty languages",
                  "xnli pawsx udpos panx xquad mlqa tydiqa bucc2018 tatoeba", more=False),
    "xtreme-r": _of("xtreme-r", "XTREME-R (Ruder et al. 2021): ten tasks, fifty languages",
                    "xnli xcopa udpos panx xquad mlqa tydiqa mewslix lareqa tatoeba", more=True),
}
