"""What a recipe would do, as values: counts, sentences and data frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from adapters_xitt import tasks
from adapters_xitt.api.common import Work
from adapters_xitt.study import costs
from adapters_xitt.study.jobs import ModuleJob
from adapters_xitt.study.results import BLOCKED, FAILED, NOT_APPLICABLE, Entry

if TYPE_CHECKING:
    import pandas as pd

STATUSES = (FAILED, BLOCKED, NOT_APPLICABLE)  # that the plan decides, the worst first
TO_SCORE = "to score"


class Plan:
    """The jobs of a recipe, what the store already has of them, and what the rest costs."""

    def __init__(self, work: Work) -> None:
        self.work = work

    @property
    def refused(self) -> bool:
        """Whether a row can't be run."""
        return self.work.plan.refused

    @cached_property
    def counts(self) -> dict[str, int]:
        """What is to be done: `modules` and `cells` that the store lacks, of `all_modules` and
        `all_cells`; `tokens` that are read; `bytes` that the new modules take."""
        plan, store = self.work.plan, self.work.store
        modules, cells = plan.missing(store.has_module, store.has_result)
        tokens = sum(costs.train_tokens(job, plan.inputs) for job in modules)
        tokens += sum(costs.score_tokens(job, plan.inputs) for job in cells)
        return {
            "modules": len(modules),
            "all_modules": len(plan.train),
            "cells": len(cells),
            "all_cells": len(plan.score),
            "tokens": tokens,
            "bytes": sum(costs.held_bytes(job, plan.inputs) for job in modules),
        }

    @property
    def summary(self) -> list[str]:
        """What is to be done, with what, and how many places of the grid it decides."""
        plan, counts = self.work.plan, self.counts
        recipe, files = plan.recipe, plan.inputs.files
        lines = [
            f"To do: {counts['modules']:,} of {counts['all_modules']:,} modules,"
            f" {counts['cells']:,} of {counts['all_cells']:,} cells, {counts['tokens']:,} tokens;"
            f" the new modules take {counts['bytes'] / 2**20:,.1f} MiB in {self.work.store.root}.",
            f"Recipe {recipe.name}: encoder {files.name}, {files.layers} layers of width"
            f" {files.width}, {files.parameters / 1e6:,.1f} million parameters; methods"
            f" {', '.join(choice.label for choice, _ in recipe.choices())}; seeds"
            f" {' '.join(map(str, recipe.seeds))}.",
        ]
        if not files.weights:
            lines.append(
                "Planned without the encoder's weights, from its configuration and tokenizer: keys"
                " need the weights' fingerprint, so nothing that the store has is counted."
            )
        counted = Counter(entry.status or TO_SCORE for entry in plan.entries)
        places = [f"{count:,} {status}" for status, count in counted.items()]
        return [*lines, f"Places of the grid: {', '.join(places)}."]

    @property
    def notes(self) -> list[str]:
        """What a reader must know: of the protocol, and of what the caps on lengths cut off."""
        return [*self.work.plan.notes, *self.work.plan.inputs.truncated()]

    def reasons(self, *, details: bool = False) -> list[str]:
        """A line for every reason why places will have no score: how many it decides, and which,
        where it is not all of them; with `details` each of them."""
        lines = []
        for status in STATUSES:
            grouped: dict[str, list[Entry]] = {}
            for entry in self.work.plan.entries:
                if entry.status == status:
                    grouped.setdefault(entry.reason or "no reason given", []).append(entry)
            for reason, group in grouped.items():
                which = self._which(group, details)
                lines.append(f"{status.capitalize()}, {len(group):,} places: {reason} ({which})")
        return lines

    def _which(self, group: list[Entry], details: bool) -> str:
        """The places of a group, as far as they are not all of the grid."""
        recipe = self.work.plan.recipe
        intermediates = {mixture.name for mixture in recipe.mixtures()}
        after = dict.fromkeys(entry.intermediate for entry in group if entry.intermediate)
        targets = dict.fromkeys(entry.target for entry in group)
        languages = dict.fromkeys(entry.language for entry in group)
        tested = {code for name in targets for code in recipe.test_languages(tasks.task(name))}
        rows = (f"{entry.method.partition('(')[0]} {entry.mode}" for entry in group)
        words = [_some(rows, 4, details)]
        if after and (details or intermediates - set(after)):
            words.append(f"after {_some(after, 4, details)}")
        if details or set(recipe.targets) - set(targets):
            words.append(f"on {_some(targets, 6, details)}")
        if details or tested - set(languages):
            words.append(f"in {_some(languages, 9, details)}")
        return "; ".join(words)

    @cached_property
    def module_records(self) -> list[dict[str, Any]]:
        """What `modules` has, as values."""
        plan, store = self.work.plan, self.work.store
        lacking, _ = plan.missing(store.has_module, store.has_result)
        keys = {job.key for job in lacking}
        records = []
        for number, cohort in enumerate(plan.train_cohorts(), 1):
            examples = sum(data.train.examples for data in plan.inputs.data(cohort.mixture))
            for job in cohort.jobs:
                records.append(
                    {
                        "cohort": number,
                        "task": cohort.mixture.name,
                        "method": job.method.name,
                        "module": job.title,
                        "key": job.key,
                        "stored": store.has_module(job.key),
                        "state": self._state(job, keys),
                        "seed": cohort.seed,
                        "examples": examples,
                        "steps": costs.steps(job, plan.inputs),
                        "tokens": costs.train_tokens(job, plan.inputs),
                        "parameters": costs.module_parameters(job, plan.inputs),
                    }
                )
        return records

    def _state(self, job: ModuleJob, lacking: set[str]) -> str:
        if job.key in lacking:
            return ""
        return "has it" if self.work.store.has_module(job.key) else "not needed"

    @cached_property
    def target_records(self) -> list[dict[str, Any]]:
        """What `targets` has, as values."""
        plan, store = self.work.plan, self.work.store
        records = []
        for name in plan.recipe.targets:
            jobs = [job for job in plan.score.values() if job.task.name == name]
            languages = plan.recipe.test_languages(tasks.task(name))
            examples = [len(plan.inputs.test(name, language).rows) for language in languages]
            records.append(
                {
                    "task": name,
                    "languages": len(languages),
                    "cells": len(jobs),
                    "stored": sum(store.has_result(job.cell.key) for job in jobs),
                    "examples": sum(examples),
                    "tokens": sum(costs.score_tokens(job, plan.inputs) for job in jobs),
                }
            )
        return records

    @property
    def modules(self) -> pd.DataFrame:
        """One row for each module: cohort (those of one are trained together), task, method, module
        (what it is), key, stored, state (empty where it is to be trained, `has it`, `not needed`),
        seed, examples, steps, tokens that it reads, parameters that it trains."""
        return _frame(self.module_records)

    @property
    def targets(self) -> pd.DataFrame:
        """One row for each target: task, languages, cells, how many of them are stored, test
        examples, tokens that are read."""
        return _frame(self.target_records)

    @property
    def entries(self) -> pd.DataFrame:
        """One row for each place of the grid: method, intermediate, mode, target, language, seed,
        status (`to score`, or why it is not), reason, tag, overlap, key."""
        records = [entry.record() for entry in self.work.plan.entries]
        return _frame([{**record, "status": record["status"] or TO_SCORE} for record in records])

    def __str__(self) -> str:
        return "\n".join([*self.summary, *self.reasons(), *self.notes])


def _frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(records)


def _some(words: Iterable[str], most: int, every: bool) -> str:
    """Words, each once; the first few of many."""
    distinct = list(dict.fromkeys(words))
    if every or len(distinct) <= most:
        return ", ".join(distinct)
    return f"{', '.join(distinct[:most])} and {len(distinct) - most} more"
