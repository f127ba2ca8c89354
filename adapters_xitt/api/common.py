"""What the commands do: opens recipes and stores, runs, and prints tables. The console script only
translates."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adapters_xitt import progress, stopping
from adapters_xitt.atomic import writing
from adapters_xitt.data import mixture
from adapters_xitt.errors import XittError
from adapters_xitt.model.session import check_device, make_fabric
from adapters_xitt.modules import methods, serialization
from adapters_xitt.progress import console, say
from adapters_xitt.report import submission
from adapters_xitt.sharing import bundle
from adapters_xitt.study import planner, preflight, recipe, runs
from adapters_xitt.study.grid import read_grid
from adapters_xitt.study.inputs import Inputs, data_root
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.results import BLOCKED, DONE, FAILED, NOT_APPLICABLE, versions
from adapters_xitt.study.runner import Runner
from adapters_xitt.study.store import Store, check_name, default_root
from adapters_xitt.study.stored_modules import add_stored_module


@dataclass(frozen=True)
class Work:
    """A plan and the store it runs in."""

    plan: Plan
    store: Store


def open_recipe(
    path: Path, overrides: Sequence[str], store: Path | None, *, weights: bool = True
) -> Work:
    """The plan of a recipe file; a `XittError` with every problem, of its text, its names, its
    encoder and its data. Without `weights` an encoder that lacks them is planned with, against an
    empty store."""
    draft, where = recipe.read(path, overrides), Store(store or default_root())
    inputs = None
    if draft.recipe is not None and not (draft.problems.found and draft.recipe.data.root == "demo"):
        inputs = Inputs(draft.recipe, data_root(draft.recipe, where), where, weights=weights)
        preflight.check(inputs, draft.problems, doubtful=draft.doubtful)
    if draft.recipe is not None and not draft.doubtful:
        try:
            recipe.check_overrides(draft.recipe, overrides, recipe.Reads.grid(draft.recipe))
        except XittError as error:
            for line in str(error).splitlines()[1:]:
                draft.problems.add(f"command line, {line.strip()}")
    draft.problems.raise_if_any()
    assert draft.recipe is not None and inputs is not None
    return Work(
        planner.plan_recipe(draft.recipe, inputs, resolve=bundle.resolver(where, tell=say)), where
    )


@contextmanager
def others(words: Sequence[Any], count: int, logs: Path) -> Iterator[None]:
    """`count` more processes of the same command; the store shares out the work. They end with the
    block, or with this process; what they say stands in `logs`, and the end of it is told of one
    that fails."""
    command = [sys.executable, "-m", "adapters_xitt.cli", *map(str, words)]
    environment = {**os.environ, stopping.PARENT: str(os.getpid())}
    paths = [logs / f"worker-{number}.log" for number in range(2, count + 2)]
    with ExitStack() as stack:
        if paths:
            with writing(logs):
                logs.mkdir(parents=True, exist_ok=True)
                files = [stack.enter_context(path.open("wb")) for path in paths]
        started = [
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
            )
            for file in (files if paths else ())
        ]
        try:
            yield
        finally:
            failed = [process.poll() not in (None, 0) for process in started]
            _end(started)
            for path, process, wrong in zip(paths, started, failed, strict=True):
                if wrong and not stopping.asked():
                    last = (
                        path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
                    )
                    say(
                        "\n  ".join(
                            [
                                (
                                    f"{path.stem} ended with exit status {process.returncode}; the"
                                    f" others did its work. The end of {path}:"
                                ),
                                *last,
                            ]
                        )
                    )


def _end(started: Sequence[subprocess.Popen]) -> None:
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(stopping.GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def share(work: Work, *, device: str, threads: int | None, log: str, keep_every: float) -> None:
    """A worker's part in a run: the process that started it writes the grid."""
    runner_of(work, device=device, threads=threads, log=log, keep_every=keep_every).run()


def run_work(
    work: Work, *, device: str, threads: int | None, log: str, keep_every: float
) -> dict[str, Any]:
    """Runs what is missing and stores the grid of the run; also where it was cut off."""
    runner = runner_of(work, device=device, threads=threads, log=log, keep_every=keep_every)
    try:
        runner.run()
    finally:
        grid = read_grid(work.plan, work.store, runner.failed)
        work.store.write_json(work.store.root / "runs" / work.plan.recipe.name / "grid.json", grid)
    return grid


def discard_other_versions(work: Work) -> int:
    """Takes the results of a plan that other versions scored out of the store; how many there
    were."""
    store, now = work.store, versions()
    others = [
        key
        for key in work.plan.score
        if store.has_result(key) and store.load_result(key).provenance.get("versions") != now
    ]
    for key in others:
        store.discard_result(key)
    return len(others)


def runner_of(
    work: Work, *, device: str, threads: int | None, log: str = "none", keep_every: float = 60.0
) -> Runner:
    """What runs a plan, on a device, with its progress on the terminal."""
    if threads:
        torch.set_num_threads(threads)
    callback = progress.Bars(console(stderr=True)) if sys.stderr.isatty() else progress.Lines(say)
    fabric = make_fabric(device, work.plan.inputs.means.base)
    return Runner(work.plan, work.store, fabric, callback=callback, log=log, keep_every=keep_every)


def failures(grid: dict[str, Any]) -> list[str]:
    """A line for every reason for which places of a grid have failed, and how many it cost."""
    counted = Counter(entry["reason"] for entry in grid["entries"] if entry["status"] == FAILED)
    return [
        f"failed: {count} place{'s' * (count > 1)}: {reason}" for reason, count in counted.items()
    ]


def exit_status(grid: dict[str, Any]) -> int:
    """0 where every cell is done, blocked or not applicable."""
    good = (DONE, BLOCKED, NOT_APPLICABLE)
    return 0 if all(entry["status"] in good for entry in grid["entries"]) else 1


# -- submissions -----------------------------------------------------------------------------------


def submit(
    run: str,
    folder: Path,
    store: Path | None,
    *,
    benchmark: str,
    method: str | None,
    row: str | None,
    seed: int | None,
) -> int:
    """Writes one row of a run as a submission folder; the exit status."""
    grid, where = runs.load_run(run, store)
    of = submission.benchmark(benchmark)
    found = submission.systems(grid, of, method=method, row_name=row, seed=seed)
    if len(found) != 1:
        every = found or submission.systems(grid, of, method=None, row_name=None, seed=None)
        what = (
            "which of them?"
            if found
            else f"{run} has no such row with scores in {benchmark}; it has"
        )
        raise XittError(
            "a submission is one row with one seed: "
            + what
            + "".join(f"\n  {one}" for one in every[:40])
            + (f"\n  and {len(every) - 40} more" if len(every) > 40 else "")
        )
    missing = submission.submit(grid, Store(store or where.parent.parent), found[0], of, folder)
    out = console()
    out.print(f"{found[0]}: written to {folder}")
    for line in missing:
        out.print(f"missing: {line}")
    return int(bool(missing))


# -- one module, one composition -------------------------------------------------------------------


def train(
    task: str,
    overrides: Sequence[str],
    *,
    encoder: str | None,
    data: str | None,
    store: Path | None,
    method: str,
    seed: int,
    after: str | None,
    mode: str,
    name: str | None,
    device: str,
    threads: int | None,
    log: str,
    keep_every: float,
) -> serialization.Manifest:
    """Trains one module and gives it a name."""
    check_name(name)
    check_device(device)
    where = Store(store or default_root())
    parent = where.load_module(bundle.resolver(where, tell=say)(after)).manifest if after else None
    choice, rate = method_of(method) if not parent else (methods.from_record(parent.method), None)
    values = {
        "name": "train",
        "encoder": encoder_of(parent, encoder),
        "methods": [
            {"name": choice.name, **_plain(choice), **({"learning_rate": rate} if rate else {})}
        ],
        "intermediates": [],
        "targets": [mixture.portion(task).task],
        "modes": ["none"],
        "seeds": [seed],
    }
    found = recipe_of(values, overrides, data, recipe.Reads.module(task))
    work = empty(found, where)
    job = planner.plan_module(
        work.plan,
        task,
        parent=add_stored_module(work.plan, parent.key) if parent else None,
        mode=mode,
    )
    runner = runner_of(work, device=device, threads=threads, log=log, keep_every=keep_every)
    runner.train_only([job.key])
    if job.key in runner.failed:
        raise XittError(f"{job.title}: {runner.failed[job.key]}")
    if name:
        where.give_name(name, job.key, tell=say)
    return where.manifest(job.key)


def recipe_of(
    values: dict[str, Any],
    overrides: Sequence[str],
    data: str | None,
    reads: recipe.Reads | None = None,
) -> recipe.Recipe:
    """The recipe that a command's options stand for; refused where the command doesn't read an
    override."""
    if data or values["encoder"] == "demo":
        values["data"] = {"root": data or "demo"}
    lines: dict[tuple, str] = {}
    for override in overrides:
        recipe.override(values, lines, override)
    found = recipe.parse(values, source="command line", lines=lines)
    if reads:
        recipe.check_overrides(found, overrides, reads)
    return found


def empty(found: recipe.Recipe, where: Store) -> Work:
    """A plan without jobs."""
    return Work(Plan(found, Inputs(found, data_root(found, where), where)), where)


def encoder_of(manifest: serialization.Manifest | None, given: str | None) -> str:
    """The encoder that is named, or that of a module, where its user said which it is."""
    if given:
        return given
    if manifest is None:
        say("no --encoder is named: the project's own small one is taken, --encoder demo")
        return "demo"
    if not manifest.encoder_is_ours:
        raise XittError(
            f"module {manifest.key[:12]} ({manifest.role}) was taken in from elsewhere, and chooses"
            f" no encoder to be loaded; it says {manifest.encoder_name!a}: name yours with"
            " --encoder"
        )
    return manifest.encoder_name


def _plain(choice: methods.Choice) -> dict[str, Any]:
    return {name: value for name, value in choice.record().items() if name != "name"}


def method_of(text: str) -> tuple[methods.Choice, float | None]:
    """`lora` or `lora(rank=16, learning_rate=1e-3)`."""
    found = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text)
    if not found:
        raise XittError(f"method {text!r}: write a name, or name(option=value, …)")
    options: dict[str, Any] = {}
    for pair in re.findall(r"(\w+)\s*=\s*(\[[^\]]*\]|[^,]+)", found[2] or ""):
        options[pair[0]] = recipe.read_value(pair[1])
    rate = options.pop("learning_rate", None)
    return methods.choose(found[1], options), rate
