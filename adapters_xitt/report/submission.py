"""Submission folders as XTREME's `evaluate.py` reads them (google-research/xtreme 838c13b):
written, checked, scored.

A folder has `TASK/test-LANGUAGE.EXTENSION` for every language of a benchmark's tasks; the folder of
the labels has the same names. Averages are the benchmark's: a task's is the mean over its
languages, a group's and the whole the mean over tasks. An average over a part only says what it
lacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from adapters_xitt.atomic import write_text
from adapters_xitt.data.exposure import raw_id
from adapters_xitt.errors import DataError, XittError, unknown
from adapters_xitt.report.submission_files import FORMS, Remark, compare, open_page
from adapters_xitt.study.results import DONE
from adapters_xitt.study.store import Store
from adapters_xitt.tasks import BENCHMARKS, Benchmark, Task


@dataclass(frozen=True)
class Average:
    """A mean, and the names of what it lacks; None over nothing."""

    value: float | None
    missing: tuple[str, ...] = ()


def average(parts: Mapping[str, float | Average | None]) -> Average:
    """The mean of the parts that are there; what is missing, or is itself over a part only, is
    named."""
    values = {
        name: part.value if isinstance(part, Average) else part for name, part in parts.items()
    }
    there = [value for value in values.values() if value is not None]
    lacking = tuple(
        name
        for name, part in parts.items()
        if values[name] is None or (isinstance(part, Average) and part.missing)
    )
    return Average(sum(there) / len(there) if there else None, lacking)


@dataclass(frozen=True)
class Standing:
    """What a folder scores on a benchmark: score by task, language and name; averages of tasks, of
    groups, of all tasks, and of each language over the tasks that ask for it."""

    benchmark: Benchmark
    scores: dict[str, dict[str, dict[str, float]]]
    tasks: dict[str, Average]
    groups: dict[str, Average]
    languages: dict[str, Average]
    whole: Average
    # lines that the lenient reading takes otherwise than `evaluate.py`
    remarks: tuple[Remark, ...] = ()
    lenient: bool = False

    def record(self) -> dict[str, Any]:
        """As plain JSON."""

        def as_json(averages: Mapping[str, Average]) -> dict[str, Any]:
            return {
                name: {"score": mean.value, "missing": list(mean.missing)}
                for name, mean in averages.items()
            }

        return {
            "benchmark": self.benchmark.name,
            "scores": self.scores,
            "tasks": as_json(self.tasks),
            "groups": as_json(self.groups),
            "languages": as_json(self.languages),
            "all": as_json({"all": self.whole})["all"],
            "lenient": self.lenient,
            "remarks": [
                {"file": str(remark.path), "line": remark.line, "what": remark.what}
                for remark in self.remarks
            ],
        }


def benchmark(name: str) -> Benchmark:
    """A benchmark by name."""
    if name not in BENCHMARKS:
        raise XittError(unknown("benchmark", name, BENCHMARKS))
    return BENCHMARKS[name]


def score(predictions: Path, labels: Path, of: Benchmark, *, lenient: bool = False) -> Standing:
    """Scores a folder of predictions against a folder of labels, as `evaluate.py` does it: every
    task that both folders have. Where the script stops there is a `DataError`, which lists every
    file that stops it. `lenient` scores the files that are there, and takes what they hold as
    people do."""
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise XittError(
                f"{folder}: no such folder; it holds a folder for each task, as in {folder}/xnli"
            )
    scores: dict[str, dict[str, dict[str, float]]] = {}
    remarks: list[Remark] = []
    problems: list[str] = []
    for task in (task for task in of.rows if task.name in FORMS):
        if not all((folder / task.name).is_dir() for folder in (predictions, labels)):
            continue
        for language in of.languages[task.name]:
            name = file_name(task, language)
            predicted, gold = predictions / name, labels / name
            absent = [path for path in (predicted, gold) if not path.exists()]
            try:
                if not absent:
                    scores.setdefault(task.name, {})[language] = compare(
                        FORMS[task.name],
                        predicted,
                        gold,
                        language,
                        lenient=lenient,
                        remarks=remarks,
                    )
            except DataError as error:
                problems.append(str(error))
            if absent and not lenient:
                problems += [
                    f"{path}: no such file; evaluate.py wants every language of a task"
                    for path in absent
                ]
    if problems:
        hint = (
            ""
            if lenient
            else "; --lenient scores what is there, and reads more than the script does"
        )
        raise DataError(
            "\n".join(
                [
                    f"{predictions}: {of.name}'s evaluate.py refuses it{hint}",
                    *map("  ".__add__, problems),
                ]
            )
        )
    if not scores:
        raise XittError(
            f"{predictions}: none of the files that {of.name} asks for, with labels in {labels}; "
            f"they are named like {file_name(of.rows[0], of.languages[of.rows[0].name][0])}"
        )
    return replace(standing(of, scores), remarks=tuple(dict.fromkeys(remarks)), lenient=lenient)


def standing(of: Benchmark, scores: dict[str, dict[str, dict[str, float]]]) -> Standing:
    """The averages over scores by task and language."""
    by_task = {
        task.name: average(
            {
                code: scores.get(task.name, {}).get(code, {}).get(task.main_score)
                for code in of.languages[task.name]
            }
        )
        for task in of.rows
    }
    groups = {
        group: average({name: by_task[name] for name in names})
        for group, names in of.groups.items()
    }
    each: dict[str, dict[str, float | None]] = {}
    for task in of.rows:
        for code in of.languages[task.name]:
            each.setdefault(code, {})[task.name] = (
                scores.get(task.name, {}).get(code, {}).get(task.main_score)
            )
    return Standing(
        of,
        scores,
        by_task,
        groups,
        {code: average(parts) for code, parts in sorted(each.items())},
        average(by_task),
    )


def file_name(task: Task, language: str) -> str:
    """The name of a file in a submission folder."""
    return f"{task.name}/test-{language}.{FORMS[task.name].extension}"


@dataclass(frozen=True)
class System:
    """One row of a grid with one seed: what a submission is made of."""

    method: str
    intermediate: str
    mode: str
    seed: int

    def __str__(self) -> str:
        row_name = " ".join(part for part in (self.intermediate, self.mode) if part)
        return f"--method {self.method!r} --row {row_name!r} --seed {self.seed}"


def systems(
    grid: Mapping[str, Any],
    of: Benchmark,
    *,
    method: str | None,
    row_name: str | None,
    seed: int | None,
) -> list[System]:
    """The systems of a grid that fit, in its order; `row_name` is written as in the report: "none",
    "mnli stack"."""
    fitting = dict.fromkeys(
        System(entry["method"], entry["intermediate"], entry["mode"], entry["seed"])
        for entry in grid["entries"]
        if entry["target"] in of.languages and entry["status"] == DONE
    )
    return [
        system
        for system in fitting
        if (method is None or method in (system.method, system.method.partition("(")[0]))
        and (
            row_name is None
            or " ".join(row_name.split()) == f"{system.intermediate} {system.mode}".strip()
        )
        and (seed is None or seed == system.seed)
    ]


def submit(
    grid: Mapping[str, Any], store: Store, system: System, of: Benchmark, folder: Path
) -> list[str]:
    """Writes a system's predictions as a submission, reads every file back, and says what the
    benchmark asks for that is not there: languages, items that a recipe's slice or a reader left
    out, files that are the recipe's own. The folder has its name when it is whole."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise XittError(
            f"{folder}: there is something in it already; name a folder that is empty or new"
        )
    entries = {
        (entry["target"], entry["language"]): entry
        for entry in grid["entries"]
        if System(entry["method"], entry["intermediate"], entry["mode"], entry["seed"]) == system
    }
    missing: list[str] = []
    with store.whole_folder(folder) as work:
        for task in of.rows:
            there = {
                code: entries[task.name, code]
                for code in of.languages[task.name]
                if entries.get((task.name, code), {}).get("status") == DONE
            }
            if lacking := [code for code in of.languages[task.name] if code not in there]:
                missing.append(f"{task.name} in {' '.join(lacking)}")
            for code, entry in there.items():
                missing += _submit_one(work / file_name(task, code), task, code, entry, store)
            overrides = grid["recipe"].get("tasks", {}).get(task.name, {})
            if there and (
                changed := [
                    key for key in ("test", "files", "gold", "options") if overrides.get(key)
                ]
            ):
                missing.append(
                    f"{task.name}: its {' and '.join(changed)} are the recipe's own, so rows and"
                    " their order may not be the benchmark's"
                )
    return missing


def _submit_one(
    path: Path, task: Task, language: str, entry: Mapping[str, Any], store: Store
) -> list[str]:
    items = [
        {**item, "id": raw_id(task, language, item["id"])}
        for item in store.load_predictions(entry["key"]).items
    ]
    write_text(path, FORMS[task.name].write(items))
    read = len(FORMS[task.name].read(open_page(path, lenient=False, remarks=[])))
    if read != len(items):
        raise XittError(f"{path}: {read} predictions read back, {len(items)} written")
    skipped = store.load_result(entry["key"]).skipped
    return [f"{task.name} {language}: {count} left out: {why}" for why, count in skipped.items()]
