"""Submission folders as XTREME's `evaluate.py` reads them (google-research/xtreme 838c13b): written, checked, scored.

A folder has `TASK/test-LANGUAGE.EXTENSION` for every language of a benchmark's tasks; the folder of the labels has the
same names. Averages are the benchmark's: a task's is the mean over its languages, a group's and the whole the mean over
tasks. An average over a part only says what it lacks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters_xitt.errors import DataError, XittError, unknown
from adapters_xitt.lineage import raw_id
from adapters_xitt.metrics import METRICS
from adapters_xitt.readers.files import blocks_of, get, json_of, lines_of, text_of
from adapters_xitt.records import DONE
from adapters_xitt.store import Store
from adapters_xitt.tasks import BENCHMARKS, Benchmark, Task


@dataclass(frozen=True)
class Form:
    """How the predictions of a task stand in a file. `read` gives what its metric takes, `gold` the references from
    the labels' file, which has the same extension (rankings: both by id); `write` makes the file's text from stored
    predictions."""

    extension: str
    read: Callable[[Path], Any]
    gold: Callable[[Path], Any]
    write: Callable[[Sequence[Mapping[str, Any]]], str]


def _json(path: Path) -> Any:
    return json_of(text_of(path), path)


def _lines(path: Path) -> list[str]:
    """A file's lines without the blanks at their edges, as `evaluate.py` reads labels and tags."""
    return [line.strip() for line in lines_of(path)]


def _tags(path: Path) -> list[list[str]]:
    """One tag a line, sentences parted by blank lines; the tag is the last of a line's columns."""
    return [[line.split("\t")[-1] for _, line in block] for block in blocks_of(_lines(path)) if block]


def _pairs(path: Path) -> list[tuple[str, str]]:
    found = []
    for n, line in enumerate(_lines(path) if text_of(path).strip() else [], 1):  # nothing mined is an empty file
        source, tab, target = line.partition("\t")
        if not tab or "\t" in target:
            raise DataError(f"{path}:{n}: expected two ids and a tab between them, found {line[:60]!r}")
        found.append((source, target))
    return found


def _numbers(path: Path) -> list[int]:
    found = []
    for n, line in enumerate(_lines(path), 1):
        if not (line.isascii() and line.isdigit()):
            raise DataError(f"{path}:{n}: expected a plain number, found {line[:40]!r}")
        found.append(int(line))
    return found


def _choices(path: Path) -> list[int]:
    return [get(json_of(line, path, first=n), "label", kind=int, where=f"{path}:{n}: ")
            for n, line in enumerate(lines_of(path), 1)]


def _answers(path: Path) -> list[dict[str, str]]:
    found = _json(path)
    if not isinstance(found, dict) or not all(isinstance(text, str) for text in found.values()):
        raise DataError(f"{path}: expected an object, question id: answer")
    return [{"id": key, "prediction_text": text} for key, text in found.items()]


def _questions(path: Path) -> list[dict[str, Any]]:
    """The gold answers of a file in SQuAD's form."""
    found = []
    for article in get(_json(path), "data", kind=list, where=f"{path}: "):
        for paragraph in get(article, "paragraphs", kind=list, where=f"{path}: data: "):
            for question in get(paragraph, "qas", kind=list, where=f"{path}: data.paragraphs: "):
                where = f"{path}: question {question.get('id') if isinstance(question, dict) else question!r}: "
                answers = get(question, "answers", kind=list, where=where)
                found.append({"id": get(question, "id", kind=str, where=where), "answers": {
                    "text": [get(answer, "text", kind=str, where=where) for answer in answers],
                    "answer_start": [get(answer, "answer_start", kind=int, where=where) for answer in answers]}})
    return found


def _rankings(path: Path) -> dict[str, list[str]]:
    found = _json(path)
    if not isinstance(found, dict) or not all(isinstance(ids, list) for ids in found.values()):
        raise DataError(f"{path}: expected an object, mention id: list of entity ids")
    return found


def _line_each(name: str) -> Callable[[Sequence[Mapping[str, Any]]], str]:
    return lambda items: "".join(f"{item[name]}\n" for item in items)


def _tag_lines(items: Sequence[Mapping[str, Any]]) -> str:
    return "\n".join("".join(f"{tag}\n" for tag in item["tags"]) for item in items)


def _by_id(name: str) -> Callable[[Sequence[Mapping[str, Any]]], str]:
    return lambda items: json.dumps({item["id"]: item[name] for item in items}, ensure_ascii=False, indent=1) + "\n"


_LABELS = Form("tsv", _lines, _lines, _line_each("label"))
_TAGS = Form("tsv", _tags, _tags, _tag_lines)
_QA = Form("json", _answers, _questions, _by_id("text"))
FORMS: dict[str, Form] = {
    "xnli": _LABELS, "pawsx": _LABELS, "udpos": _TAGS, "panx": _TAGS, "xquad": _QA, "mlqa": _QA, "tydiqa": _QA,
    "bucc2018": Form("tsv", _pairs, _pairs, lambda items: "".join(f"{i['id']}\t{i['target']}\n" for i in items)),
    "tatoeba": Form("tsv", _numbers, _numbers, _line_each("index")),
    "xcopa": Form("jsonl", _choices, _choices,
                  lambda items: "".join(json.dumps({"label": item["label"]}) + "\n" for item in items)),
    "mewslix": Form("json", _rankings, _rankings, _by_id("ids")),
}


@dataclass(frozen=True)
class Average:
    """A mean, and the names of what it lacks; None over nothing."""

    value: float | None
    missing: tuple[str, ...] = ()


def average(parts: Mapping[str, float | Average | None]) -> Average:
    """The mean of the parts that are there; what is missing, or is itself over a part only, is named."""
    values = {name: part.value if isinstance(part, Average) else part for name, part in parts.items()}
    there = [value for value in values.values() if value is not None]
    lacking = tuple(name for name, part in parts.items() if values[name] is None
                    or (isinstance(part, Average) and part.missing))
    return Average(sum(there) / len(there) if there else None, lacking)


@dataclass(frozen=True)
class Standing:
    """What a folder scores on a benchmark: score by task, language and name; averages of tasks, of groups, of all
    tasks, and of each language over the tasks that ask for it."""

    benchmark: Benchmark
    scores: dict[str, dict[str, dict[str, float]]]
    tasks: dict[str, Average]
    groups: dict[str, Average]
    languages: dict[str, Average]
    whole: Average

    def record(self) -> dict[str, Any]:
        """As plain JSON."""
        def told(found: Mapping[str, Average]) -> dict[str, Any]:
            return {name: {"score": one.value, "missing": list(one.missing)} for name, one in found.items()}

        return {"benchmark": self.benchmark.name, "scores": self.scores, "tasks": told(self.tasks),
                "groups": told(self.groups),
                "languages": told(self.languages), "all": told({"all": self.whole})["all"]}


def benchmark(name: str) -> Benchmark:
    """A benchmark by name."""
    if name not in BENCHMARKS:
        raise XittError(unknown("benchmark", name, BENCHMARKS))
    return BENCHMARKS[name]


def score(predictions: Path, labels: Path, of: Benchmark) -> Standing:
    """Scores a folder of predictions against a folder of labels. A file that is not there is missing; one that can't
    be read, or fits its labels' file nowhere, is a `DataError`."""
    for folder in (predictions, labels):
        if not folder.is_dir():
            raise XittError(f"{folder}: no such folder; it holds a folder for each task, as in {folder}/xnli")
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in of.rows:
        for language in of.languages[row.name]:
            found = _score(row, language, predictions, labels)
            if found is not None:
                scores.setdefault(row.name, {})[language] = found
    if not scores:
        raise XittError(f"{predictions}: none of the files that {of.name} asks for, with labels in {labels}; "
                        f"they are named like {place(of.rows[0], of.languages[of.rows[0].name][0])}")
    return standing(of, scores)


def standing(of: Benchmark, scores: dict[str, dict[str, dict[str, float]]]) -> Standing:
    """The averages over scores by task and language."""
    by_task = {row.name: average({code: scores.get(row.name, {}).get(code, {}).get(row.headline)
                                  for code in of.languages[row.name]}) for row in of.rows}
    groups = {group: average({name: by_task[name] for name in names}) for group, names in of.groups.items()}
    each: dict[str, dict[str, float | None]] = {}
    for row in of.rows:
        for code in of.languages[row.name]:
            each.setdefault(code, {})[row.name] = scores.get(row.name, {}).get(code, {}).get(row.headline)
    return Standing(of, scores, by_task, groups, {code: average(parts) for code, parts in sorted(each.items())},
                    average(by_task))


def place(row: Task, language: str) -> str:
    """The name of a file in a submission folder."""
    return f"{row.name}/test-{language}.{FORMS[row.name].extension}"


def _score(row: Task, language: str, predictions: Path, labels: Path) -> dict[str, float] | None:
    if row.name not in FORMS:
        return None
    said, gold = predictions / place(row, language), labels / place(row, language)
    if not said.exists() or not gold.exists():
        return None
    found, wanted = FORMS[row.name].read(said), FORMS[row.name].gold(gold)
    if isinstance(found, dict):  # a query without a ranking has an empty one
        if extra := [key for key in found if key not in wanted]:
            raise DataError(f"{said}: {len(extra)} rankings for unknown ids, the first {extra[0]!r}")
        found, wanted = [found.get(key, []) for key in wanted], list(wanted.values())
    try:
        return METRICS[row.metric](language=language).score(found, wanted)
    except DataError:
        raise
    except XittError as error:
        raise DataError(f"{said}, against {gold}: {error}") from error


@dataclass(frozen=True)
class System:
    """One row of a grid with one seed: what a submission is made of."""

    method: str
    intermediate: str
    mode: str
    seed: int

    def __str__(self) -> str:
        row = " ".join(part for part in (self.intermediate, self.mode) if part)
        return f"--method {self.method!r} --row {row!r} --seed {self.seed}"


def systems(grid: Mapping[str, Any], of: Benchmark, *, method: str | None, row: str | None, seed: int | None
            ) -> list[System]:
    """The systems of a grid that fit, in its order; `row` is written as in the report: "none", "mnli stack"."""
    found = dict.fromkeys(System(entry["method"], entry["intermediate"], entry["mode"], entry["seed"])
                          for entry in grid["entries"] if entry["target"] in of.languages and entry["status"] == DONE)
    return [one for one in found if (method is None or method in (one.method, one.method.partition("(")[0]))
            and (row is None or " ".join(row.split()) == f"{one.intermediate} {one.mode}".strip())
            and (seed is None or seed == one.seed)]


def submit(grid: Mapping[str, Any], store: Store, system: System, of: Benchmark, folder: Path) -> list[str]:
    """Writes a system's predictions as a submission, reads every file back, and says what the benchmark asks for that
    is not there: languages, items that a recipe's slice or a reader left out, files that are the recipe's own. The
    folder has its name when it is whole."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise XittError(f"{folder}: there is something in it already; name a folder that is empty or new")
    found = {(entry["target"], entry["language"]): entry for entry in grid["entries"]
             if System(entry["method"], entry["intermediate"], entry["mode"], entry["seed"]) == system}
    missing: list[str] = []
    with store.whole_folder(folder) as work:
        for row in of.rows:
            there = {code: found[row.name, code] for code in of.languages[row.name]
                     if found.get((row.name, code), {}).get("status") == DONE}
            if lacking := [code for code in of.languages[row.name] if code not in there]:
                missing.append(f"{row.name} in {' '.join(lacking)}")
            for code, entry in there.items():
                missing += _submit_one(work / place(row, code), row, code, entry, store)
            own = grid["recipe"].get("tasks", {}).get(row.name, {})
            if there and (changed := [key for key in ("test", "files", "gold", "options") if own.get(key)]):
                missing.append(f"{row.name}: its {' and '.join(changed)} are the recipe's own, so rows and their order "
                               "may not be the benchmark's")
    return missing


def _submit_one(path: Path, row: Task, language: str, entry: Mapping[str, Any], store: Store) -> list[str]:
    items = [{**item, "id": raw_id(row, language, item["id"])} for item in store.load_predictions(entry["key"])]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(FORMS[row.name].write(items), encoding="utf-8")
    read = len(FORMS[row.name].read(path))
    if read != len(items):
        raise XittError(f"{path}: {read} predictions read back, {len(items)} written")
    skipped = store.load_result(entry["key"]).skipped
    return [f"{row.name} {language}: {count} left out: {why}" for why, count in skipped.items()]
