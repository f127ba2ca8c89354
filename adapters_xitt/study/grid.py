"""The finished grid as one JSON value: every entry with its status and scores, and what a reader
must know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from adapters_xitt import hashing
from adapters_xitt.data.mixture import Mixture
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS, decoding
from adapters_xitt.model.seen import FILE
from adapters_xitt.modules import composition
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.modules.methods import COMPOSED
from adapters_xitt.study.jobs import MergedModule, ModuleJob
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.results import DONE, FAILED, Entry, Result
from adapters_xitt.study.store import Store
from adapters_xitt.tasks import task

ReadManifest = Callable[[str], Manifest | None]


def read_grid(plan: Plan, store: Store, failed: dict[str, str]) -> dict[str, Any]:
    """The finished grid as one JSON value: every entry with its status and scores, and what a
    reader must know. `failed`: the reason of every job that broke, by key."""
    entries, results, manifest = [], {}, _manifest_reader(store)
    for entry in plan.entries:
        fields: dict[str, Any] = {**entry.record(), "scores": {}, "score": None, "examples": 0}
        if entry.status is None:
            if store.has_result(entry.key):
                results[entry.key] = result = store.load_result(entry.key)
                fields |= _scored_fields(plan, manifest, entry, result)
            else:
                fields |= {"status": FAILED, "reason": failed.get(entry.key, "not run yet")}
        entries.append(fields)
    inputs, recipe = plan.inputs, plan.recipe
    return {
        "recipe": recipe.model_dump(exclude_defaults=True),
        "name": recipe.name,
        "protocol_notes": plan.notes,
        "encoder": {
            "name": inputs.files.name,
            "fingerprint": inputs.files.fingerprint,
            **_encoder_past(plan),
        },
        "precision": inputs.memory_plan.base,
        "made_with": _versions_used(plan, manifest, results),
        "entries": entries,
        "headlines": {name: task(name).main_score for name in recipe.targets},
        "majority": _majority(plan),
        "trained_in": {
            name: recipe.training_portion(inputs.task(name)).languages
            for name in recipe.targets
            if inputs.task(name).trains
        },
        "weak": _weak(plan, manifest),
    }


def _encoder_past(plan: Plan) -> dict[str, Any]:
    """What the encoder's own training had: what the recipe says, or else the file beside the
    encoder; None where nobody does. Where both say it, both are told."""
    stated, beside = plan.recipe.seen, plan.inputs.files.seen
    sources = ["the recipe"] if stated is not None else []
    if beside is not None:
        groups = ", ".join(beside.groups) or "nothing"
        sources.append(
            f"{FILE} beside it"
            + (f" ({beside.source})" if beside.source else "")
            + (f", which says {groups}" if stated is not None else "")
        )
        stated = list(beside.groups) if stated is None else stated
    return {"seen": stated, "seen_from": "; ".join(sources)}


def _scored_fields(
    plan: Plan, manifest: ReadManifest, entry: Entry, result: Result
) -> dict[str, Any]:
    """What an entry has once it is scored."""
    fields = {
        "status": DONE,
        "scores": result.scores,
        "score": result.scores[result.headline],
        "examples": result.examples,
        "convention": result.cell.convention,
        "truncated": result.truncated,
        **_cost_and_error(plan, manifest, entry),
    }
    if result.parts:
        parts = [plan.train[key].mixture.name for key in result.parts]
        fields["fusion"] = {"parts": parts, "weights": result.weights}
    return fields


def _manifest_reader(store: Store) -> ReadManifest:
    """Reads each module's manifest once: None where it is not made, or damaged, as the cells that
    need it tell."""

    @cache
    def read(key: str) -> Manifest | None:
        try:
            return store.manifest(key) if store.has_module(key) else None
        except XittError:
            return None

    return read


def _versions_used(
    plan: Plan, manifest: ReadManifest, results: Mapping[str, Result]
) -> list[dict[str, Any]]:
    """The sets of versions that scored the cells, and that trained the modules in them, each with
    how many of both; those of most cells first."""
    sets: dict[str, dict[str, Any]] = {}

    def count(versions: Mapping[str, str], what: str) -> None:
        empty = {"versions": dict(versions), "cells": 0, "modules": 0}
        sets.setdefault(hashing.canonical(dict(versions)), empty)[what] += 1

    for result in results.values():
        count(result.provenance.get("versions", {}), "cells")
    modules = dict.fromkeys(
        name for key in results for name in composition.names(plan.score[key].composition)
    )
    for module in filter(None, map(manifest, modules)):
        if not module.source:  # what was made elsewhere names the versions of its form
            count(module.versions, "modules")
    return sorted(sets.values(), key=lambda counted: -counted["cells"])


def _cost_and_error(plan: Plan, manifest: ReadManifest, entry: Entry) -> dict[str, Any]:
    """What a row's last module took to make, and of a merge how far it is from the weighted sum
    that it stands for, and from what it would be uncut; an expression that only puts stored modules
    together takes nothing."""
    names = composition.names(plan.score[entry.key].composition) if entry.key in plan.score else ()
    jobs = [plan.train[name] for name in names]
    if entry.mode == COMPOSED:
        jobs = [job for job in jobs if _joins(job)]
    if not jobs:
        return {"seconds": 0.0}
    module = manifest(jobs[-1].key)
    if module is None:
        return {}
    metrics = module.metrics
    errors = {
        f"merge_{name}": metrics[name]
        for name in ("error", "lost")
        if metrics.get(name) is not None
    }
    return {
        "seconds": metrics.get("seconds", 0.0),
        **errors,
        **_selection(plan, jobs[-1], module, entry.target),
    }


def _selection(plan: Plan, job: ModuleJob, module: Manifest, target: str) -> dict[str, Any]:
    """How a target's own module did on its selection split, and what the commonest label does
    there, where there is one."""
    if module.chance is None or job.mixture.name != target:
        return {}
    try:
        rows = [
            rows
            for part in job.mixture.portions
            for rows in plan.inputs.selection(part, job.mixture)
        ]
    except XittError:  # stored modules may be scored where their training data is not
        return {}
    score, examples = module.metrics["score"], sum(len(part.rows) for part in rows)
    return {"selection": {"score": score, "chance": module.chance, "examples": examples}}


def _joins(job: ModuleJob) -> bool:
    """Whether a module is made of the other parts of its expression."""
    return isinstance(job, MergedModule) or job.method.spec.is_fusion


def _majority(plan: Plan) -> dict[str, dict[str, float | None]]:
    """Target → language → main score of the training data's commonest label, where there are
    labels."""
    scores: dict[str, dict[str, float | None]] = {}
    inputs = plan.inputs
    for name in plan.recipe.targets:
        target = inputs.task(name)
        if KINDS[target.kind].majority is None:
            continue
        portion = plan.recipe.training_portion(target)
        try:
            splits = inputs.train(portion, Mixture(name, (portion,)))
        except XittError:  # stored modules may be scored where their training data is not
            continue
        examples = [example for rows in splits for example in rows.rows]
        scores[name] = {
            code: decoding.majority(target, examples, inputs.test(name, code).rows, language=code)
            for code in plan.recipe.test_languages(target)
        }
    return scores


def _weak(plan: Plan, manifest: ReadManifest) -> list[str]:
    """Intermediates that did not beat the commonest label on their own selection split."""
    parents = {key for job in plan.train.values() for key in job.parents}
    lines = []
    for key in plan.train:
        module = manifest(key) if key in parents else None
        if module and module.chance is not None and module.metrics["score"] <= module.chance:
            lines.append(
                f"{module.role}: {module.metrics['score']:.1f} on its own selection split, "
                f"{module.chance:.1f} by always saying the commonest label"
            )
    return lines
