"""Modules that the store has already, as jobs of a plan."""

from __future__ import annotations

from adapters_xitt.data import mixture
from adapters_xitt.data.exposure import Exposure
from adapters_xitt.errors import XittError
from adapters_xitt.modules import composition, methods
from adapters_xitt.study.jobs import Plan, StoredModule
from adapters_xitt.study.keys import init_fingerprint


def known(plan: Plan, key: str, *, under: tuple[str, ...] = ()) -> StoredModule:
    """A module that the store has already, as a job of the plan, with the modules it stands on and
    the data it has seen. `under`: those that have it in their context."""
    store = plan.inputs.store
    manifest = store.manifest(key)
    if key in under:
        raise XittError(
            f"module {key[:12]} ({manifest.role}): its context names {under[-1][:12]}, whose"
            " context names it; no module was trained so"
        )
    files = plan.inputs.files
    if manifest.encoder != files.fingerprint:
        raise XittError(
            f"{key}: was made for the encoder {manifest.encoder_name!a} ({manifest.encoder[:12]}),"
            f" this one is {files.name} ({files.fingerprint[:12]}); modules of two encoders don't"
            " compose"
        )
    context = composition.parse(manifest.context)
    for part in composition.names(context):
        if part != key and part not in plan.train:
            known(plan, part, under=(*under, key))
    for row in manifest.exposure:
        if row["data"]:
            plan.data[row["data"]] = store.load_data_set(row["data"])
    training, start, choice = (
        manifest.training,
        manifest.training["start"],
        methods.recorded(manifest.method),
    )
    drawn = training.get("drawn") or manifest.trained_on
    own = (
        None
        if start or manifest.merge or manifest.source
        else init_fingerprint(manifest.encoder, choice, manifest.seed, drawn)
    )
    plan.train[key] = StoredModule(
        key=key,
        mixture=mixture.recorded(manifest.trained_on, manifest.mixture),
        method=choice,
        learning_rate=training["learning_rate"],
        seed=manifest.seed,
        title=manifest.role,
        start=start,
        below=tuple(training["below"]),
        carry_pooler=training["carry_pooler"],
        context=context,
        exposure=tuple(Exposure(**row) for row in manifest.exposure),
        chance=manifest.chance,
        spaces=tuple(manifest.heads),
        drawn=drawn,
        init_fingerprint=None if manifest.source else training.get("born") or own,
    )
    return plan.train[key]
