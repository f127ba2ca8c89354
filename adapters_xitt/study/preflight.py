"""What would stop a run later, found before anything costs: the encoder, the data folder, data that
can't be read, trained on or scored. Every problem at once, each a line, however many languages it
is true of."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from adapters_xitt.data.dataset import Rows
from adapters_xitt.data.mixture import Mixture, Portion
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.metrics import METRICS
from adapters_xitt.study import memory_plan
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.study.plan import Plan
from adapters_xitt.tasks import Task, task


def check(inputs: Inputs, problems: Problems, *, doubtful: Sequence[tuple] = ()) -> None:
    """Adds what is wrong with all that a recipe needs. `doubtful` are keys that the recipe lost
    because they are wrong themselves: what depends on them is not looked at."""
    parts = {key[0] for key in doubtful if key}
    if "encoder" not in parts:
        try:
            _ = inputs.files  # inspected now
        except XittError as error:
            problems.add(str(error))
    root = inputs.sources.root
    if root is not None and not os.path.isdir(root):
        problems.add(f"data.root or XITT_DATA: {root}: no such folder")
        parts.add("data")
    tasks = {key[1] for key in doubtful if key[:1] == ("tasks",) and len(key) > 1}
    if "data" in parts:
        return
    mixtures = [
        mixture
        for mixture in inputs.mixtures()
        if not tasks & {part.task for part in mixture.portions}
    ]
    for conflict in memory_plan.conflicts(inputs.recipe, mixtures):
        problems.add(conflict)
    if "lengths" not in parts:
        targets = [name for name in inputs.recipe.targets if name not in tasks]
        check_data(inputs, mixtures, targets, problems)


def require_data(plan: Plan, mixtures: Sequence[Mixture], targets: Sequence[str]) -> None:
    """Refuses data that can't be read, trained on or scored, every problem at once; the plan's
    notes then have what of it is not used."""
    problems = Problems(f"recipe {plan.recipe.name}")
    check_data(plan.inputs, mixtures, targets, problems)
    problems.raise_if_any()
    plan.notes.extend(line for line in plan.inputs.skipped() if line not in plan.notes)


def check_data(
    inputs: Inputs, mixtures: Sequence[Mixture], targets: Sequence[str], problems: Problems
) -> None:
    """Adds what is wrong with the data of mixtures, each of whose tasks is one whose data trains,
    and of targets."""
    tasks = [trained for mixture in mixtures for trained in mixture.tasks]
    tasks += [task(name) for name in targets]
    distinct = {each.name: each for each in tasks}
    runnable = {name for name, each in distinct.items() if _check_task(each, problems)}
    facts = _Facts()
    for mixture in mixtures:
        for part in mixture.portions:
            if part.record.name in runnable:
                _check_portion(inputs, part, mixture, facts)
    for name in targets:
        if name in runnable:
            _check_target(inputs, task(name), facts)
    for line in facts.lines():
        problems.add(line)


def _check_task(each: Task, problems: Problems) -> bool:
    """Whether this version can run and score a task; adds what it can't."""
    if each.kind not in KINDS:
        problems.add(
            f"task {each.name}: this version can't run kind {each.kind!r} yet; it runs"
            f" {', '.join(KINDS)}"
        )
        return False
    if each.metric not in METRICS:
        problems.add(
            f"task {each.name}: this version can't score {each.metric!r} yet; it scores "
            f"{', '.join(METRICS)}"
        )
        return False
    return True


def _check_portion(inputs: Inputs, part: Portion, mixture: Mixture, facts: _Facts) -> None:
    try:
        train, selection = inputs.train(part, mixture), inputs.selection(part, mixture)
        inputs.examples(part, mixture)
    except XittError as error:
        # What a task of several others lacks is told of them, once.
        lines = str(error).splitlines()
        for line in lines[1:] if task(part.task).joins and len(lines) > 1 else [str(error)]:
            facts.add(line.strip(), part.languages[0])
        return
    both = _items(inputs, train) & _items(inputs, selection)
    if both:
        facts.add(
            f"{part.text}: {len(both)} items, {min(both)} among them, stand in training and in"
            f" selection; give tasks.{part.task}.selection a split or slice of its own",
            "",
        )


def _items(inputs: Inputs, splits: Sequence[Rows]) -> frozenset[str]:
    """The items of several files."""
    items: frozenset[str] = frozenset()
    return items.union(*(inputs.data_set(rows).ids for rows in splits))


def _check_target(inputs: Inputs, target: Task, facts: _Facts) -> None:
    languages = inputs.recipe.test_languages(target)
    if not languages:
        facts.add(
            f"target {target.name} is tested in none of the recipe's languages; it has "
            f"{', '.join(target.known)}",
            "",
        )
    for language in languages:
        try:
            for rows in inputs.tested(target.name, language):
                if not rows.has_labels:
                    facts.add(
                        f"{rows.file}: {target.name} {rows.split} in {language} has no labels to be"
                        f" scored by; name a file with labels under tasks.{target.name}.files, or"
                        " their own under gold",
                        language,
                    )
        except XittError as error:
            places = [
                str(place)
                for pattern in target.gold.get("test", ())
                for place in inputs.sources.places(target, pattern, language)
            ]
            hint = f"; those of {target.name} would be {' or '.join(places)}" if places else ""
            facts.add(str(error) + (hint if "gold file" in str(error) else ""), language)


class _Facts:
    """Problems, those that differ in nothing but the language as one."""

    def __init__(self) -> None:
        self._languages: dict[str, dict[str, None]] = {}
        self._texts: dict[str, str] = {}

    def add(self, text: str, language: str) -> None:
        """A problem that is true of a language; of all where none is given."""
        same = (
            re.sub(rf"(?<![A-Za-z]){re.escape(language)}(?![A-Za-z])", "{lang}", text)
            if language
            else text
        )
        same = "where is the data?" if text.startswith("where is ") else same
        self._texts.setdefault(same, text)
        self._languages.setdefault(same, {})[language] = None

    def lines(self) -> list[str]:
        """A line each, the first language's words and the names of the others."""
        lines = []
        for same, text in self._texts.items():
            others = list(self._languages[same])[1:]
            lines.append(text + (f" [the same in {' '.join(others)}]" if any(others) else ""))
        return lines
