"""The benchmarks whose averages people quote: which tasks in which languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters_xitt.tasks.record import Task
from adapters_xitt.tasks.xtreme import XTREME
from adapters_xitt.tasks.xtreme_r import XTREME_R


@dataclass(frozen=True)
class Benchmark:
    """Tasks and, for each, the languages that its average is over; and the groups of tasks, which may share some."""

    name: str
    about: str
    rows: tuple[Task, ...]
    languages: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]


def _of(name: str, about: str, groups: Mapping[str, str], *, more: bool) -> Benchmark:
    by_name = {row.name: row for row in (*XTREME, *XTREME_R)}
    rows = tuple(by_name[one] for one in dict.fromkeys(" ".join(groups.values()).split()))
    return Benchmark(name, about, rows, {row.name: row.known if more else row.languages for row in rows},
                     {group: tuple(names.split()) for group, names in groups.items()})


BENCHMARKS: dict[str, Benchmark] = {
    "xtreme": _of("xtreme", "XTREME (Hu et al. 2020): nine tasks, forty languages",
                  {"classification": "xnli pawsx", "tagging": "udpos panx", "qa": "xquad mlqa tydiqa",
                   "retrieval": "bucc2018 tatoeba"}, more=False),
    # LAReQA is of XTREME-R too, but its evaluate.py reads no files of it; it lists XCOPA in two groups.
    "xtreme-r": _of("xtreme-r", "XTREME-R (Ruder et al. 2021): the nine of its ten tasks that are scored from files",
                    {"classification": "xnli xcopa", "multi_choice": "xcopa", "tagging": "udpos panx",
                     "qa": "xquad mlqa tydiqa", "retrieval": "mewslix tatoeba"}, more=True),
}
