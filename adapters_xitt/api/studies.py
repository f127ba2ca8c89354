"""Recipes run, planned and reported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

from adapters_xitt.api import common
from adapters_xitt.api.common import Work
from adapters_xitt.api.grids import Grid
from adapters_xitt.api.options import Overrides, RunOptions, Settings
from adapters_xitt.api.plans import Plan
from adapters_xitt.api.workers import others
from adapters_xitt.model.session import check_device
from adapters_xitt.progress import notify


def run(
    recipe: str | Path,
    overrides: Overrides = (),
    *,
    workers: int = 1,
    fresh_versions: bool = False,
    **options: Unpack[RunOptions],
) -> Grid:
    """Runs what is missing of a recipe, resumes what was cut off, and gives the grid, which lies in
    the store under the recipe's name.

    `overrides` are keys of the recipe: `{"seeds": [1]}` or `["seeds=[1]"]`. `workers` processes
    share the work. With `fresh_versions` what other versions of the libraries have scored is scored
    again. A `XittError` lists everything that is wrong with the recipe, its data or its encoder; a
    cell that fails is an entry of the grid with its reason.

    >>> grid = run("small.yaml", {"seeds": [1]}, store="docs")
    >>> grid.ok, grid.frame.status.unique().tolist()
    (True, ['done'])
    """
    settings = Settings(overrides=overrides, **options)
    check_device(settings.device)  # before anything is read
    work = common.open_recipe(Path(recipe), settings.assignments, settings.stored.root)
    if fresh_versions:
        count = common.discard_other_versions(work)
        notify(
            f"{count:,} of {len(work.plan.score):,} cells were scored by other versions and are"
            " scored again"
        )
    return _run(work, Path(recipe), settings, workers)


def _run(work: Work, recipe: Path, settings: Settings, workers: int) -> Grid:
    """Runs what is missing of a recipe that was opened, with other processes of the same command
    where several are asked for."""
    machine = settings.machine
    if workers > 1:
        machine["threads"] = settings.threads or max(1, (os.cpu_count() or 1) // workers)
    command = ["run", recipe, *settings.assignments, "--store", work.store.root]
    for option, value in machine.items():
        command += [f"--{option.replace('_', '-')}", value] if value is not None else []
    with others(command, workers - 1, work.store.root / "logs"):
        record = common.run_work(work, **machine)
    return Grid(record, common.run_folder(work), work.store.root)


def share(recipe: str | Path, overrides: Overrides = (), **options: Unpack[RunOptions]) -> None:
    """A worker's part in a run: the process that started it writes the grid."""
    settings = Settings(overrides=overrides, **options)
    work = common.open_recipe(Path(recipe), settings.assignments, settings.stored.root)
    common.runner_of(work, **settings.machine).run()


def dry_run(recipe: str | Path, overrides: Overrides = (), **options: Unpack[RunOptions]) -> Plan:
    """The plan of what `run` would do with the same arguments."""
    settings = Settings(overrides=overrides, **options)
    check_device(settings.device)
    return Plan(common.open_recipe(Path(recipe), settings.assignments, settings.stored.root))


def plan(recipe: str | Path, overrides: Overrides = (), *, store: str | Path | None = None) -> Plan:
    """The jobs of a recipe, what the store already has, and what the rest costs. Trains nothing,
    and needs no more of the encoder than its configuration and tokenizer. A `XittError` lists
    everything that is wrong with the recipe, its data or its encoder.

    >>> plan("small.yaml", store="docs").entries.status.unique().tolist()
    ['to score']
    """
    settings = Settings(overrides=overrides, store=store)
    return Plan(
        common.open_recipe(Path(recipe), settings.assignments, settings.stored.root, weights=False)
    )
