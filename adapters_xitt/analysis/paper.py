"""What Phang et al. 2020 (arXiv 2005.13013) say of intermediate-task training, held against a
finished run: by direction, never by level.

Only what the final paper's abstract says is here. Its result tables, its numbers of seeds and its
ablations' numbers could not be read, so that no claim rests on them. Left out on purpose: that the
best intermediate of each target gains 5.4 points (it is chosen on each target language's dev set,
and chosen on the test it would hold by construction), the abstract of the first version (seven
tasks, SQuAD best: another experiment), and the differences of its test scores to those of other
papers' XLM-R (two recipes for fine-tuning, not the effect of an intermediate)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adapters_xitt.analysis.variance import Source
from adapters_xitt.data.mixture import ENGLISH
from adapters_xitt.tasks.xtreme import XTREME

PAPER = "arXiv 2005.13013, abstract"
VERIFIED = "read in the abstract"

RETRIEVAL, ANSWERING = ("bucc2018", "tatoeba"), ("xquad", "mlqa", "tydiqa")
EVERY = tuple(target.name for target in XTREME)

BEST = ("mnli", "squad", "hellaswag")
OTHERS = ("anli-plus", "qqp", "squad2", "ccg", "cosmosqa", "commonsenseqa")
TRANSLATED = {"squad-es": "squad"}  # intermediates that a machine translated -> from English


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A sentence of the paper, and the rows that decide it."""

    name: str
    sentence: str
    rows: str  # a key of ROWS: how its rows are found among a run's intermediates
    targets: tuple[str, ...]
    less: tuple[str, ...] = ()  # targets whose mean is taken off
    # what is claimed is that the first rows do not beat the second on every target
    not_always: bool = False
    source: str = PAPER
    support: str = VERIFIED


CLAIMS = (
    Claim(
        name="retrieval",
        sentence="intermediate training in English helps to find translations",
        rows="against none",
        targets=RETRIEVAL,
    ),
    Claim(
        name="answers",
        sentence="intermediate training in English helps to answer questions",
        rows="against none",
        targets=ANSWERING,
    ),
    Claim(
        name="retrieval-most",
        sentence="it helps to find translations more than to answer questions",
        rows="against none",
        targets=RETRIEVAL,
        less=ANSWERING,
    ),
    Claim(
        name="best",
        sentence="MNLI, SQuAD and HellaSwag are the best intermediates",
        rows="best against others",
        targets=EVERY,
    ),
    Claim(
        name="several",
        sentence="several intermediates as one help more than one of them does on average",
        rows="several against each",
        targets=EVERY,
    ),
    Claim(
        name="masked-words",
        sentence="masked words mixed into the intermediate do not help on every target",
        rows="with masked words",
        targets=EVERY,
        not_always=True,
    ),
    Claim(
        name="translated",
        sentence="an intermediate that a machine translated does not help more on every target",
        rows="translated",
        targets=EVERY,
        not_always=True,
    ),
)


@dataclass(frozen=True)
class Pair:
    """The intermediates that are compared: the mean of the first with the mean of the second."""

    first: tuple[str, ...]
    second: tuple[str, ...]  # ("",): no intermediate

    def __str__(self) -> str:
        return f"{_mean_of(self.first)} - {_mean_of(self.second)}"


# -- which rows ------------------------------------------------------------------------------------


def _english(named: Mapping[str, Source]) -> dict[str, str]:
    """The intermediates of one task in English: task → name."""
    return {source.task: name for name, source in named.items() if source.languages == (ENGLISH,)}


def _there(tasks: Sequence[str], named: Mapping[str, Source]) -> tuple[str, ...]:
    names = _english(named)
    return tuple(names[each] for each in tasks if each in names)


def _against_none(named: Mapping[str, Source]) -> list[Pair]:
    rows = _there((*BEST, *OTHERS), named)
    return [Pair(rows, ("",))] if rows else []


def _best_against_others(named: Mapping[str, Source]) -> list[Pair]:
    best, others = _there(BEST, named), _there(OTHERS, named)
    return [Pair(best, others)] if best and others else []


def _several_against_each(named: Mapping[str, Source]) -> list[Pair]:
    """Mixtures of tasks in English, and those of their tasks that are rows themselves."""
    pairs = []
    for name, source in named.items():
        parts = source.task.split("+")
        if len(parts) > 1 and source.languages == (ENGLISH,) and not any(map(_masked, parts)):
            each = _there(parts, named)
            pairs += [Pair((name,), each)] if each else []
    return pairs


def _with_masked_words(named: Mapping[str, Source]) -> list[Pair]:
    """Mixtures of tasks and masked words, and the same tasks without them."""
    pairs = []
    for name, source in named.items():
        parts = source.task.split("+")
        labelled = [part for part in parts if not _masked(part)]
        plain = _there(["+".join(labelled)], named)
        if 0 < len(labelled) < len(parts) and plain:
            pairs.append(Pair((name,), plain))
    return pairs


def _translated(named: Mapping[str, Source]) -> list[Pair]:
    return [
        Pair((name,), _there([TRANSLATED[source.task]], named))
        for name, source in named.items()
        if source.task in TRANSLATED and _there([TRANSLATED[source.task]], named)
    ]


def _masked(part: str) -> bool:
    """Whether a task trains masked words."""
    return part == "text" or part.endswith(":text")


ROWS = {
    "against none": _against_none,
    "best against others": _best_against_others,
    "several against each": _several_against_each,
    "with masked words": _with_masked_words,
    "translated": _translated,
}
_WANTED = {
    "against none": f"none, and one of {' '.join((*BEST, *OTHERS))}",
    "best against others": f"one of {' '.join(BEST)}, and one of {' '.join(OTHERS)}",
    "several against each": "a mixture of several tasks in English, and one of its tasks",
    "with masked words": "a mixture of a task and masked words, and the task without them",
    "translated": " or ".join(f"{first} and {second}" for first, second in TRANSLATED.items()),
}


def lacking(claim: Claim, named: Mapping[str, Source], grid: Mapping[str, Any]) -> str:
    """What a run would have to have."""
    wanted = []
    if not ROWS[claim.rows](named):
        wanted.append(f"rows: {_WANTED[claim.rows]}")
    for targets in filter(None, (claim.targets, claim.less)):
        if not set(targets) & set(grid["headlines"]):
            wanted.append(f"one of the targets {' '.join(targets)}")
    return "; ".join(wanted) or "scores of these rows on one target and with one method and mode"


def _mean_of(names: Sequence[str]) -> str:
    named = [name or "none" for name in names]
    return named[0] if len(named) == 1 else f"mean of {', '.join(named)}"
