"""The finished grid as one JSON value: every entry with its status and scores, and what a reader must know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from adapters_xitt import compose, decode, digests
from adapters_xitt.errors import XittError
from adapters_xitt.jobs import Plan
from adapters_xitt.methods import COMPOSED
from adapters_xitt.mixture import Mixture
from adapters_xitt.records import DONE, FAILED, Entry, Result
from adapters_xitt.store import Store
from adapters_xitt.tasks import task


def read_grid(plan: Plan, store: Store, failed: dict[str, str]) -> dict[str, Any]:
    """The finished grid as one JSON value: every entry with its status and scores, and what a reader must know."""
    entries, results = [], {}
    for entry in plan.entries:
        found: dict[str, Any] = {**asdict(entry), "scores": {}, "score": None, "examples": 0}
        if entry.status is None:
            if store.has_result(entry.key):
                results[entry.key] = result = store.load_result(entry.key)
                found |= {"status": DONE, "scores": result.scores, "score": result.scores[result.headline],
                          "examples": result.examples, "convention": result.cell.convention,
                          "truncated": result.truncated,
                          **_made(plan, store, entry)}
                if result.parts:
                    found["fusion"] = {"parts": [plan.train[key].mixture.name for key in result.parts],
                                       "weights": result.weights}
            else:
                found |= {"status": FAILED, "reason": failed.get(entry.key, "not run yet")}
        entries.append(found)
    material, recipe = plan.material, plan.recipe
    return {
        "recipe": recipe.model_dump(exclude_defaults=True), "name": recipe.name, "protocol_notes": plan.notes,
        "encoder": {"name": material.files.name, "fingerprint": material.files.fingerprint},
        "precision": material.means.base, "made_with": _made_with(plan, store, results), "entries": entries,
        "headlines": {name: task(name).headline for name in recipe.targets},
        "majority": _majority(plan), "weak": _weak(plan, store),
    }


def _made_with(plan: Plan, store: Store, results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """The sets of versions that scored the cells, and that trained the modules in them, each with how many of both;
    those of most cells first."""
    sets: dict[str, dict[str, Any]] = {}

    def count(versions: Mapping[str, str], what: str) -> None:
        empty = {"versions": dict(versions), "cells": 0, "modules": 0}
        sets.setdefault(digests.canonical(dict(versions)), empty)[what] += 1

    for result in results.values():
        count(result.provenance.get("versions", {}), "cells")
    modules = dict.fromkeys(name for key in results for name in compose.names(plan.score[key].composition))
    for manifest in map(store.manifest, modules):
        if not manifest.source:  # what was made elsewhere names the versions of its form
            count(manifest.versions, "modules")
    return sorted(sets.values(), key=lambda made: -made["cells"])


def _made(plan: Plan, store: Store, entry: Entry) -> dict[str, Any]:
    """What a row's last module took to make, and of a merge how far it is from the weighted sum that it stands for,
    and from what it would be uncut; an
    expression that only puts stored modules together takes nothing."""
    names = compose.names(plan.score[entry.key].composition) if entry.key in plan.score else ()
    jobs = [plan.train[name] for name in names]
    if entry.mode == COMPOSED:
        jobs = [job for job in jobs if job.merged is not None or job.method.row.engine in ("fusion", "weights")]
    if not jobs:
        return {"seconds": 0.0}
    metrics = store.manifest(jobs[-1].key).metrics
    return {"seconds": metrics.get("seconds", 0.0),
            **{f"merge_{name}": metrics[name] for name in ("error", "lost") if metrics.get(name) is not None}}


def _majority(plan: Plan) -> dict[str, dict[str, float]]:
    """Target → language → headline score of the training data's commonest label, where there are labels."""
    found: dict[str, dict[str, float]] = {}
    material = plan.material
    for name in plan.recipe.targets:
        row = material.task(name)
        if row.kind not in ("pair", "tagging", "choice"):
            continue
        portion = plan.recipe.training_portion(row)
        try:
            train_rows = [one for rows in material.train(portion, Mixture(name, (portion,))) for one in rows.rows]
        except XittError:  # stored modules may be scored where their training data is not
            continue
        found[name] = {code: decode.majority(row, train_rows, material.test(name, code).rows, language=code)
                       for code in plan.recipe.tested(row)}
    return found


def _weak(plan: Plan, store: Store) -> list[str]:
    """Intermediates that did not beat the commonest label on their own selection split."""
    parents = {key for job in plan.train.values() for key in job.parents}
    found = []
    for key in plan.train:
        if key in parents and store.has_module(key):
            manifest = store.manifest(key)
            if manifest.chance is not None and manifest.metrics["score"] <= manifest.chance:
                found.append(f"{manifest.role}: {manifest.metrics['score']:.1f} on its own selection split, "
                             f"{manifest.chance:.1f} by always saying the commonest label")
    return found
