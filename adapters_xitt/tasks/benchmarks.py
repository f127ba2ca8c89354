"""The benchmarks whose averages people quote: which tasks in which languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from adapters_xitt.tasks.record import Task
from adapters_xitt.tasks.xtreme import XTREME
from adapters_xitt.tasks.xtreme_r import XTREME_R


@dataclass(frozen=True)
class Benchmark:
    """Tasks and, for each, the languages that its average is over; and the groups of tasks, which
    may share some."""

    name: str
    about: str
    rows: tuple[Task, ...]
    languages: Mapping[str, tuple[str, ...]]
    groups: Mapping[str, tuple[str, ...]]


def _of(
    name: str, about: str, groups: Mapping[str, str], *, more: bool = False, without: str = ""
) -> Benchmark:
    """`more`: with XTREME-R's languages; `without`: languages of UDPOS that are left out."""
    by_name = {task.name: task for task in (*XTREME, *XTREME_R)}
    names = dict.fromkeys(" ".join(groups.values()).split())
    rows = tuple(by_name[name] for name in names)
    languages = {task.name: task.known if more else task.languages for task in rows}
    languages["udpos"] = tuple(code for code in languages["udpos"] if code not in without.split())
    return Benchmark(
        name,
        about,
        rows,
        languages,
        {group: tuple(names.split()) for group, names in groups.items()},
    )


_XTREME = {
    "classification": "xnli pawsx",
    "tagging": "udpos panx",
    "qa": "xquad mlqa tydiqa",
    "retrieval": "bucc2018 tatoeba",
}


BENCHMARKS: dict[str, Benchmark] = {
    # The default has the 33 languages of UDPOS that its evaluate.py asks for.
    "xtreme": _of("xtreme", "XTREME (Hu et al. 2020): nine tasks, forty languages", _XTREME),
    # Others average over the 29 that have training or dev data too.
    "xtreme-29": _of(
        "xtreme-29",
        "XTREME, UDPOS without the four languages that have a test only",
        _XTREME,
        without="kk th tl yo",
    ),
    # LAReQA is of XTREME-R too, but its evaluate.py reads no files of it; it lists XCOPA in two
    # groups.
    "xtreme-r": _of(
        "xtreme-r",
        "XTREME-R (Ruder et al. 2021): the nine of its ten tasks that are scored from files",
        {
            "classification": "xnli xcopa",
            "multi_choice": "xcopa",
            "tagging": "udpos panx",
            "qa": "xquad mlqa tydiqa",
            "retrieval": "mewslix tatoeba",
        },
        more=True,
    ),
}
