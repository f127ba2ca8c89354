"""What the functions of the face share: recipes opened and planned, plans run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from adapters_xitt import progress
from adapters_xitt.analysis import questions
from adapters_xitt.errors import XittError
from adapters_xitt.model.session import make_fabric
from adapters_xitt.modules import methods
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.progress import notify
from adapters_xitt.sharing import bundle
from adapters_xitt.study import planner, preflight, recipe
from adapters_xitt.study.grid import read_grid
from adapters_xitt.study.inputs import Inputs, data_root
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.results import versions
from adapters_xitt.study.runner import Runner
from adapters_xitt.study.store import Store, default_root


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
    draft, stored = recipe.read(path, overrides), Store(store or default_root())
    inputs = None
    if draft.recipe is not None and not (
        draft.problems.problems and draft.recipe.data.root == "demo"
    ):
        root = data_root(draft.recipe, stored)
        inputs = Inputs(draft.recipe, root, stored, weights=weights)
        preflight.check(inputs, draft.problems, doubtful=draft.doubtful)
    if draft.recipe is not None and not draft.doubtful:
        try:
            recipe.check_overrides(draft.recipe, overrides, recipe.Reads.grid(draft.recipe))
        except XittError as error:
            for line in str(error).splitlines()[1:]:
                draft.problems.add(f"command line, {line.strip()}")
    draft.problems.raise_if_any()
    assert draft.recipe is not None and inputs is not None
    resolve = bundle.resolver(stored, tell=notify)
    plan = planner.plan_recipe(draft.recipe, inputs, resolve=resolve)
    if draft.recipe.questions:  # those that can't be asked are refused before anything runs
        questions.subjects(draft.recipe, [entry.record() for entry in plan.entries])
    return Work(plan, stored)


def run_work(
    work: Work,
    *,
    device: str = "auto",
    threads: int | None = None,
    log: str = "csv",
    keep_every: float = 60.0,
) -> dict[str, Any]:
    """Runs what is missing and stores the grid of the run, which it gives; also where it was cut
    off."""
    runner = runner_of(work, device=device, threads=threads, log=log, keep_every=keep_every)
    try:
        runner.run()
    finally:
        grid = read_grid(work.plan, work.store, runner.failed)
        work.store.write_json(run_folder(work) / "grid.json", grid)
    return grid


def run_folder(work: Work) -> Path:
    """Where the grid and the report of a recipe's run lie."""
    return work.store.root / "runs" / work.plan.recipe.name


def run_modules(work: Work, keys: Sequence[str], machine: dict[str, Any]) -> None:
    """Trains or puts together modules of a plan; a `XittError` where one can't be."""
    runner = runner_of(work, **machine)
    runner.train_only(list(keys))
    for key in keys:
        if key in runner.failed:
            raise XittError(f"{work.plan.train[key].title}: {runner.failed[key]}")


def runner_of(
    work: Work, *, device: str, threads: int | None, log: str = "none", keep_every: float = 60.0
) -> Runner:
    """What runs a plan, on a device, with its progress told to whoever wants it."""
    if threads:
        torch.set_num_threads(threads)
    fabric = make_fabric(device, work.plan.inputs.memory_plan.base)
    callback = progress.callback()
    return Runner(work.plan, work.store, fabric, callback=callback, log=log, keep_every=keep_every)


def discard_other_versions(work: Work) -> int:
    """Takes the results of a plan that other versions scored out of the store; how many there
    were."""
    store, installed = work.store, versions()
    keys = [
        key
        for key in work.plan.score
        if store.has_result(key) and store.load_result(key).provenance.get("versions") != installed
    ]
    for key in keys:
        store.discard_result(key)
    return len(keys)


# -- what stands for a recipe ----------------------------------------------------------------------


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
    parsed = recipe.parse(values, source="command line", lines=lines)
    if reads:
        recipe.check_overrides(parsed, overrides, reads)
    return parsed


def empty_work(parsed: recipe.Recipe, store: Store) -> Work:
    """A plan without jobs."""
    return Work(Plan(parsed, Inputs(parsed, data_root(parsed, store), store)), store)


def task_inputs(
    task: str, *, encoder: str | None = None, data: str | None = None, store: Path | None = None
) -> Inputs:
    """What a recipe of one target would read."""
    values = {
        "name": "tasks",
        "encoder": encoder or "demo",
        "methods": ["seq_bn"],
        "intermediates": [],
        "targets": [task],
    }
    return empty_work(recipe_of(values, (), data), Store(store or default_root())).plan.inputs


def encoder_of(manifest: Manifest | None, encoder: str | None) -> str:
    """The encoder that is named, or that of a module, where its user said which it is."""
    if encoder:
        return encoder
    if manifest is None:
        notify("no --encoder is named: the project's own small one is taken, --encoder demo")
        return "demo"
    if not manifest.encoder_is_ours:
        raise XittError(
            f"module {manifest.key[:12]} ({manifest.role}) was taken in from elsewhere, and chooses"
            f" no encoder to be loaded; it says {manifest.encoder_name!a}: name yours with"
            " --encoder"
        )
    return manifest.encoder_name


def method_of(text: str) -> tuple[methods.Choice, float | None]:
    """`lora` or `lora(rank=16, learning_rate=1e-3)`."""
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", text)
    if not match:
        raise XittError(f"method {text!r}: write a name, or name(option=value, …)")
    options: dict[str, Any] = {}
    for pair in re.findall(r"(\w+)\s*=\s*(\[[^\]]*\]|[^,]+)", match[2] or ""):
        options[pair[0]] = recipe.read_value(pair[1])
    rate = options.pop("learning_rate", None)
    return methods.choose(match[1], options), rate


def method_values(choice: methods.Choice, rate: float | None) -> dict[str, Any]:
    """A method as a recipe has it."""
    options = {name: value for name, value in choice.record().items() if name != "name"}
    return {"name": choice.name, **options, **({"learning_rate": rate} if rate else {})}
