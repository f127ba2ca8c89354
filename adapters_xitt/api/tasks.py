"""The tasks: listed, looked at with an example as the encoder sees it, and what gold answers
score."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters_xitt import tasks as registry
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.tasks import Task

if TYPE_CHECKING:
    import pandas as pd

    from adapters_xitt.study.inputs import Inputs


def list_tasks() -> pd.DataFrame:
    """One row for each task: name, kind, group, languages (how many), metric, score (the main one),
    trained_on (empty: nothing), about.

    >>> list_tasks().set_index("name").loc["xnli", ["kind", "score"]].tolist()
    ['pair', 'accuracy']
    """
    import pandas as pd

    records = [
        {
            "name": task.name,
            "kind": task.kind,
            "group": task.group,
            "languages": len(task.languages),
            "metric": task.metric,
            "score": task.main_score,
            "trained_on": (task.trained_on or task.name) if task.trains else "",
            "about": task.about,
        }
        for task in registry.TASKS.values()
    ]
    return pd.DataFrame(records)


@dataclass(frozen=True)
class Example:
    """The first example of a test, and the tokens that the encoder sees."""

    language: str
    split: str
    file: str
    count: int  # examples of the test
    example: dict[str, Any]
    tokens: list[str]


def show_task(task: str) -> Task:
    """What the project knows of a task: kind, languages, labels, files, metric, what it is trained
    and selected on. A `XittError` with the nearest name where there is none.

    >>> show_task("xnli").labels
    ('contradiction', 'entailment', 'neutral')
    """
    return registry.task(task)


def show_example(
    task: str,
    *,
    encoder: str | None = None,
    data: str | None = None,
    store: str | Path | None = None,
) -> Example:
    """The first test example of a task, in English where it has that, and its tokens.

    >>> show_example("demo-pairs", encoder="demo").count
    300
    """
    return first_example(registry.task(task), _inputs(task, encoder, data, store))


def first_example(task: Task, inputs: Inputs) -> Example:
    """The first test example of a task whose inputs are at hand."""
    language = "en" if "en" in task.languages else task.languages[0]
    test = inputs.test(task.name, language)
    features = inputs.features(test)
    ids = features.columns["ids"][features.of_examples()[0][0]]
    tokens = inputs.tokenizer.convert_ids_to_tokens(ids)
    return Example(language, test.split, str(test.file), len(test.rows), dict(test.rows[0]), tokens)


@dataclass(frozen=True)
class UpperBound:
    """What gold spans score on a question answering task, encoded and decoded again."""

    encoder: str
    frame: pd.DataFrame
    missing: list[str]  # why a language is left out


def upper_bound(
    task: str,
    *,
    encoder: str | None = None,
    data: str | None = None,
    store: str | Path | None = None,
) -> UpperBound:
    """What gold spans score on a question answering task, in each language whose files are at hand:
    a row for each with language, questions, how many come back and why others don't, exact_match
    and f1 in percent. A `XittError` where no file is at hand, or the task asks no questions.

    >>> upper_bound("demo-qa", encoder="demo").frame.columns[:2].tolist()
    ['language', 'questions']
    """
    import pandas as pd

    from adapters_xitt.evaluation import upper_bound as bounds

    known = registry.task(task)
    if known.kind != "qa":
        raise XittError(f"--ceiling is of question answering; {task} is of kind {known.kind}")
    inputs = _inputs(task, encoder, data, store)
    records, missing = [], []
    for language in known.known:
        try:
            test = inputs.test(task, language)
        except DataError as error:
            missing.append(str(error))
            continue
        bound = bounds.upper_bound(
            known, language, test.rows, inputs.features(test), inputs.lengths(task)
        )
        counts = {reason: bound.counts[reason] for reason in bounds.REASONS}
        scores = {name: bound.scores[name] for name in ("exact_match", "f1")}
        records.append({"language": language, "questions": len(test.rows), **counts, **scores})
    if not records:
        raise XittError(f"no file of {task} is at hand; the first that is missing: {missing[0]}")
    return UpperBound(inputs.files.name, pd.DataFrame(records), missing)


def _inputs(task: str, encoder: str | None, data: str | None, store: str | Path | None) -> Inputs:
    from adapters_xitt.api.common import task_inputs

    return task_inputs(task, encoder=encoder, data=data, store=Path(store) if store else None)
