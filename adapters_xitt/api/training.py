"""One module trained, without a recipe file."""

from __future__ import annotations

from typing import Unpack

from adapters_xitt.api.common import (
    empty_work,
    encoder_of,
    method_of,
    method_values,
    recipe_of,
    run_modules,
)
from adapters_xitt.api.modules import Module
from adapters_xitt.api.options import MODES, Options, Overrides, Settings, check_choice
from adapters_xitt.data import mixture
from adapters_xitt.model.session import check_device
from adapters_xitt.modules import methods
from adapters_xitt.progress import notify
from adapters_xitt.sharing import bundle
from adapters_xitt.study import planner
from adapters_xitt.study.recipe import Reads
from adapters_xitt.study.store import check_name
from adapters_xitt.study.stored_modules import add_stored_module


def train(
    task: str,
    overrides: Overrides = (),
    *,
    method: str = "seq_bn",
    seed: int = 1,
    after: str | Module | None = None,
    mode: str = "sequential",
    name: str | None = None,
    **options: Unpack[Options],
) -> Module:
    """Trains one module for `task`, in English where nothing else is said (`xnli`, `text@de`,
    `mnli+xnli@en`), and finds it where the store has it.

    `method` is a method with options, `lora` or `lora(rank=16)`. `after` is a module that takes
    part: in `mode` sequential training goes on from it, in stack and sum it is frozen below or
    beside. `overrides` are keys of a recipe: `{"training.epochs": 1}` or `["training.epochs=1"]`.
    The encoder is that of `after`, or the project's small one, where none is named. A `XittError`
    says what is missing or can't be trained.

    >>> module = train("demo-pairs", {"training.max_steps": 1}, name="one", store="docs")
    >>> module.name, module.metrics["steps"]
    ('one', 1)
    """
    settings = Settings(overrides=overrides, **options)
    check_name(name)
    check_device(settings.device)
    check_choice("mode", mode, MODES)
    store = settings.stored
    parent = None
    if after:
        parent = store.load_module(bundle.resolver(store, tell=notify)(str(after))).manifest
    choice, rate = (methods.from_record(parent.method), None) if parent else method_of(method)
    values = {
        "name": "train",
        "encoder": encoder_of(parent, settings.encoder),
        "methods": [method_values(choice, rate)],
        "intermediates": [],
        "targets": [mixture.portion(task).task],
        "modes": ["none"],
        "seeds": [seed],
    }
    parsed = recipe_of(values, settings.assignments, settings.data, Reads.module(task))
    work = empty_work(parsed, store)
    job = planner.plan_module(
        work.plan,
        task,
        parent=add_stored_module(work.plan, parent.key) if parent else None,
        mode=mode,
    )
    run_modules(work, [job.key], settings.machine)
    if name:
        store.give_name(name, job.key, tell=notify)
    return Module(job.key, store.root, name)
