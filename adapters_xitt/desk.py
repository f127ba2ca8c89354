"""What the commands do: opens recipes and stores, runs, and prints tables. The console script only translates."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from adapters_xitt import compose, formats, methods, plan, progress, recipe, tasks
from adapters_xitt.bench import make_fabric
from adapters_xitt.errors import XittError, unknown
from adapters_xitt.grid import read_grid
from adapters_xitt.jobs import Plan, TrainJob, counts
from adapters_xitt.material import Material, data_root
from adapters_xitt.records import BLOCKED, DONE, NOT_APPLICABLE
from adapters_xitt.run import Runner
from adapters_xitt.store import Store, default_root


@dataclass(frozen=True)
class Work:
    """A plan and the store it runs in."""

    plan: Plan
    store: Store


def console() -> Console:
    """The terminal; where there is none, wide enough that tables need not wrap."""
    return Console() if sys.stdout.isatty() else Console(width=120)


def open_recipe(path: Path, overrides: Sequence[str], store: Path | None) -> Work:
    """The plan of a recipe file."""
    return _open(recipe.load(path, overrides), store)


def _open(found: recipe.Recipe, store: Path | None) -> Work:
    where = Store(store or default_root())
    return Work(plan.make(found, Material(found, data_root(found, where), where)), where)


@contextmanager
def others(words: Sequence[Any], count: int) -> Iterator[None]:
    """`count` more processes of the same command, silent; the store shares out the work. They end with the block."""
    command = [sys.executable, "-m", "adapters_xitt.cli", *map(str, words)]
    started = [subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def run(work: Work, *, device: str, threads: int | None, log: str, keep_every: float) -> dict[str, Any]:
    """Runs what is missing and stores the grid of the run; also where it was cut off."""
    runner = _runner(work, device=device, threads=threads, log=log, keep_every=keep_every)
    try:
        runner.run()
    finally:
        grid = read_grid(work.plan, work.store, runner.failed)
        work.store.write_json(work.store.root / "runs" / work.plan.recipe.name / "grid.json", grid)
    return grid


def _runner(work: Work, *, device: str, threads: int | None, log: str = "none", keep_every: float = 60.0) -> Runner:
    if threads:
        torch.set_num_threads(threads)
    watch = progress.Bars(Console(stderr=True)) if sys.stderr.isatty() else progress.Lines(
        lambda line: print(line, file=sys.stderr, flush=True))
    fabric = make_fabric(device, work.plan.material.means.base)
    return Runner(work.plan, work.store, fabric, watch=watch, log=log, keep_every=keep_every)


def exit_status(grid: dict[str, Any]) -> int:
    """0 where every cell is done, blocked or not applicable."""
    good = (DONE, BLOCKED, NOT_APPLICABLE)
    return 0 if all(entry["status"] in good for entry in grid["entries"]) else 1


def load_run(name: str, store: Path | None) -> tuple[dict[str, Any], Path]:
    """The grid of a run and its folder."""
    runs = (store or default_root()) / "runs"
    for folder in (Path(name), Path(name).parent if name.endswith("grid.json") else Path(name), runs / name):
        if (folder / "grid.json").is_file():
            return json.loads((folder / "grid.json").read_text(encoding="utf-8")), folder
    known = sorted(path.parent.name for path in runs.glob("*/grid.json"))
    raise XittError(f"{unknown('run', name, known)} Runs lie in {runs}.")


# -- one module, one composition -------------------------------------------------------------------------------------

def train(task: str, overrides: Sequence[str], *, encoder: str | None, data: str | None, store: Path | None,
          method: str, seed: int, after: str | None, mode: str, name: str | None, device: str,
          threads: int | None, log: str, keep_every: float) -> formats.Manifest:
    """Trains one module and gives it a name."""
    where = Store(store or default_root())
    parent = where.load_module(where.resolve(after)).manifest if after else None
    choice, rate = _method(method) if not parent else (methods.recorded(parent.method), None)
    values = {"name": "train", "encoder": encoder or (parent.encoder_name if parent else "demo"),
              "methods": [{"name": choice.name, **_plain(choice), **({"learning_rate": rate} if rate else {})}],
              "intermediates": [], "targets": [task], "modes": ["none"], "seeds": [seed]}
    found = _recipe(values, overrides, data)
    work = _empty(found, where)
    job = plan.one_module(work.plan, task, parent=_known(work, parent.key) if parent else None, mode=mode)
    runner = _runner(work, device=device, threads=threads, log=log, keep_every=keep_every)
    runner.train_only([job.key])
    if job.key in runner.failed:
        raise XittError(f"{job.title}: {runner.failed[job.key]}")
    if name:
        where.give_name(name, job.key)
    return formats.read_manifest(where.module_folder(job.key))


def evaluate(expression: str, names: Sequence[str], overrides: Sequence[str], *, encoder: str | None,
             data: str | None, store: Path | None, languages: Sequence[str], device: str, threads: int | None
             ) -> dict[str, Any]:
    """Scores one composition on tasks, and gives the grid of its cells."""
    where = Store(store or default_root())
    written = compose.parse(expression)
    keys = {word: where.resolve(word) for word in compose.names(written)}
    manifests = {key: formats.read_manifest(where.module_folder(key)) for key in keys.values()}
    if isinstance(written, compose.Part):  # a module brings the parts it was trained above
        composition = compose.parse(manifests[keys[written.name]].context)
    else:
        composition = compose.rename(written, lambda word: compose.Part(keys[word]))
    first = next(iter(manifests.values()), None)
    values = {"name": "evaluate", "encoder": encoder or (first.encoder_name if first else "demo"),
              "methods": ["seq_bn"], "intermediates": [], "targets": list(names), "modes": ["none"],
              **({"languages": list(languages)} if languages else {})}
    work = _empty(_recipe(values, overrides, data), where)
    for key in compose.names(composition):
        _known(work, key)
    plan.one_composition(work.plan, composition)
    runner = _runner(work, device=device, threads=threads)
    runner.run()
    return read_grid(work.plan, where, runner.failed)


def _recipe(values: dict[str, Any], overrides: Sequence[str], data: str | None) -> recipe.Recipe:
    if data or values["encoder"] == "demo":
        values["data"] = {"root": data or "demo"}
    lines: dict[tuple, str] = {}
    for override in overrides:
        recipe.override(values, lines, override)
    return recipe.parse(values, where="command line", lines=lines)


def _empty(found: recipe.Recipe, where: Store) -> Work:
    """A plan without jobs."""
    return Work(Plan(found, Material(found, data_root(found, where), where)), where)


def _known(work: Work, key: str) -> TrainJob:
    """A stored module as a job of the plan, with the modules it stands on and the data it has seen."""
    manifest = formats.read_manifest(work.store.module_folder(key))
    for part in compose.names(compose.parse(manifest.context)):
        if part != key and part not in work.plan.train:
            _known(work, part)
    for exposure in manifest.exposure:
        work.plan.data[exposure["data"]] = work.store.load_data_set(exposure["data"])
    return plan.known(work.plan, manifest, methods.recorded(manifest.method))


def _plain(choice: methods.Choice) -> dict[str, Any]:
    return {name: value for name, value in choice.record().items() if name != "name"}


def _method(text: str) -> tuple[methods.Choice, float | None]:
    """`lora` or `lora(rank=16, learning_rate=1e-3)`."""
    found = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text)
    if not found:
        raise XittError(f"method {text!r}: write a name, or name(option=value, …)")
    options: dict[str, Any] = {}
    for pair in re.findall(r"(\w+)\s*=\s*(\[[^\]]*\]|[^,]+)", found[2] or ""):
        value = yaml.safe_load(pair[1])
        options[pair[0]] = float(value) if pair[0] == "learning_rate" else value
    rate = options.pop("learning_rate", None)
    return methods.choose(found[1], options), rate


# -- tables ----------------------------------------------------------------------------------------------------------

def print_plan(work: Work) -> None:
    """The cohorts, what the store has, examples, tokens, parameters, disk."""
    out, the_plan, store = console(), work.plan, work.store
    modules, cells = the_plan.missing(store.has_module, store.has_result)
    missing = {job.key for job in modules}
    table = Table(title=f"{the_plan.recipe.name}: training", title_justify="left")
    for column in ("task", "module", "store"):
        table.add_column(column)
    for column in ("seed", "examples", "steps", "tokens", "trained"):
        table.add_column(column, justify="right")
    for cohort in the_plan.train_cohorts():
        examples = sum(one.train.examples for one in the_plan.material.data(cohort.mixture))
        for job in cohort.jobs:
            table.add_row(cohort.mixture.name, job.title,
                          "" if job.key in missing else "has it" if store.has_module(job.key) else "not needed",
                          str(cohort.seed), f"{examples:,}", f"{the_plan.steps(job):,}",
                          f"{the_plan.train_tokens(job):,}", f"{the_plan.module_parameters(job):,}")
        table.add_section()
    out.print(table)
    scored = Table(title="scoring", title_justify="left")
    for column in ("task", "languages", "cells", "in store", "examples", "tokens of all cells"):
        scored.add_column(column, justify="left" if column == "task" else "right")
    for name in the_plan.recipe.targets:
        jobs = [job for job in the_plan.score.values() if job.task.name == name]
        languages = the_plan.recipe.tested(tasks.task(name))
        examples = sum(len(the_plan.material.test(name, language).rows) for language in languages)
        scored.add_row(name, str(len(languages)), f"{len(jobs):,}",
                       f"{sum(store.has_result(job.cell.key) for job in jobs):,}", f"{examples:,}",
                       f"{sum(map(the_plan.score_tokens, jobs)):,}")
    out.print(scored)
    size = 4 * sum(the_plan.module_parameters(job) for job in modules)
    tokens = sum(map(the_plan.train_tokens, modules)) + sum(map(the_plan.score_tokens, cells))
    out.print(f"To do: {len(modules)} of {len(the_plan.train)} modules, {len(cells)} of {len(the_plan.score)} cells, "
              f"{tokens:,} tokens; the new modules take {size / 2**20:,.1f} MiB in {store.root}.")
    counted = counts(the_plan.entries)
    out.print("Grid: " + ", ".join(f"{count} {status}" for status, count in counted.items()) + ".")
    for note in the_plan.notes:
        out.print(f"Note: {note}", highlight=False)
    for reason in dict.fromkeys(f"{e.target} {e.language} after {e.intermediate or 'none'}: {e.reason}"
                                for e in the_plan.entries if e.status == BLOCKED):
        out.print(f"Blocked: {reason}", highlight=False)


def print_tasks() -> None:
    """The table of tasks."""
    table = Table(title="tasks", title_justify="left")
    for column in ("name", "kind", "languages", "scored by", "trained on", "about"):
        table.add_column(column)
    for row in tasks.TASKS.values():
        trained = "nothing" if not row.trains else row.trained_on or "its own English data"
        table.add_row(row.name, row.kind, str(len(row.languages)), f"{row.metric}: {row.headline}", trained, row.about)
    console().print(table)


def print_task(name: str, *, encoder: str | None, data: str | None, store: Path | None) -> None:
    """One task whole, with its first English example as the encoder sees it, where data and encoder are at hand."""
    row, out = tasks.task(name), console()
    table = Table(show_header=False, title=f"{row.name}: {row.about}", title_justify="left")
    trained = row.name if not row.trained_on else row.trained_on
    facts = {"kind": f"{row.kind}: {tasks.KINDS[row.kind]}", "group": row.group,
             "languages": _codes(row, row.languages),
             "labels": " ".join(row.labels), "scored by": f"{row.metric}, headline {row.headline}",
             "trained on": f"{trained} {tasks.task(trained).train}" if row.trains else "nothing",
             "selected on": tasks.task(trained).selection if row.trains else "nothing", "items": row.origin,
             "derived from": " ".join(row.derived_from), "source": row.source,
             "files": "\n".join(f"{split}: {' | '.join(found)}" for split, found in row.files.items() if found),
             "joins": " ".join(row.joins), "languages of XTREME-R": _codes(row, row.more), "files missing": row.hint,
             "labels apart": "\n".join(f"{split}: {' | '.join(found)}" for split, found in row.gold.items())}
    for what, text in facts.items():
        if text:
            table.add_row(what, escape(text))
    out.print(table)
    values = {"name": "tasks", "encoder": encoder or "demo", "methods": ["seq_bn"], "intermediates": [],
              "targets": [name]}
    if not encoder and not data and not name.startswith("demo-"):
        out.print("An example is shown with --encoder and --data.")
        return
    work = _empty(_recipe(values, (), data), Store(store or default_root()))
    _print_example(out, work.plan.material, row)


def _codes(row: tasks.Task, codes: Sequence[str]) -> str:
    """Language codes, with what files call a language where that is something else."""
    return " ".join(code + (f" ({row.codes[code]})" if row.codes.get(code, code) != code else "") for code in codes)


def _print_example(out: Console, material: Material, row: tasks.Task) -> None:
    language = "en" if "en" in row.languages else row.languages[0]
    rows = material.test(row.name, language)
    units = material.units(rows)
    out.print(f"\nThe first of {len(rows.rows):,} {rows.split} examples in {language}, from {rows.file}:")
    out.print_json(json.dumps(rows.rows[0], ensure_ascii=False))
    out.print("as the encoder sees it:")
    first = units.columns["ids"][units.of_examples()[0][0]]
    out.print(" ".join(material.tokenizer.convert_ids_to_tokens(first)), highlight=False, markup=False)


def print_manifest(manifest: formats.Manifest, *, name: str | None = None) -> None:
    """A manifest in lines; the history of scores left out."""
    table = Table(show_header=False, title=name or manifest.role, title_justify="left")
    for what, value in asdict(manifest).items():
        if isinstance(value, dict):
            value = {key: item for key, item in value.items() if key != "history"}
        if value not in (None, "", [], {}):
            table.add_row(what, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    console().print(table)


def print_store(root: Path | None, *, name: str | None, results: bool) -> None:
    """Modules or results, or one module whole."""
    store, out = Store(root or default_root()), console()
    if name:
        print_manifest(formats.read_manifest(store.module_folder(store.resolve(name))), name=name)
        return
    if results:
        table = Table(title=f"results in {store.root}", title_justify="left")
        for column in ("key", "task", "language", "composition", "seed", "score", "tag"):
            table.add_column(column)
        short = re.compile(r"[0-9a-f]{64}")
        for result in store.results():
            cell = result.cell
            table.add_row(cell.key[:12], cell.task, cell.language,
                          short.sub(lambda found: found[0][:12], cell.composition), str(cell.seed or ""),
                          f"{result.scores[result.headline]:.2f} {result.headline}", result.tag)
        out.print(table)
        return
    named = {key: word for word, key in store.names().items()}
    table = Table(title=f"modules in {store.root}", title_justify="left")
    for column in ("key", "name", "module", "encoder", "selection score", "chance", "MiB"):
        table.add_column(column, justify="right" if column in ("chance", "MiB") else "left")
    for manifest in store.manifests():
        size = (store.module_folder(manifest.key) / formats.TENSORS).stat().st_size / 2**20
        score = manifest.metrics["score"]
        table.add_row(manifest.key[:12], named.get(manifest.key, ""), manifest.role, manifest.encoder_name,
                      "random" if score is None else f"{score:.2f} {manifest.metrics['headline']}",
                      "" if manifest.chance is None else f"{manifest.chance:.2f}", f"{size:.2f}")
    out.print(table)


def print_scores(grid: dict[str, Any]) -> None:
    """Every score of every cell, a line each."""
    table = Table()
    for column in ("task", "language", "scores", "examples", "tag"):
        table.add_column(column)
    for entry in grid["entries"]:
        scores = "  ".join(f"{name} {value:.2f}" for name, value in entry["scores"].items())
        table.add_row(entry["target"], entry["language"], scores or f"{entry['status']}: {entry['reason']}",
                      str(entry["examples"] or ""), entry["tag"])
    console().print(table)

