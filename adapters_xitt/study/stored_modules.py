"""Modules that the store has already, as jobs of a plan."""

from __future__ import annotations

from adapters_xitt.data import mixture
from adapters_xitt.data.exposure import Exposure
from adapters_xitt.errors import XittError
from adapters_xitt.modules.composition import names, parse
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.modules.methods import from_record
from adapters_xitt.study.jobs import StoredModule
from adapters_xitt.study.keys import init_fingerprint
from adapters_xitt.study.plan import Plan


def add_stored_module(plan: Plan, key: str, *, under: tuple[str, ...] = ()) -> StoredModule:
    """Adds a module that the store has already to a plan, with the modules in its context and the
    data it has seen. `under`: those that have it in their context."""
    store = plan.inputs.store
    assert store is not None, "a plan over stored modules has a store"
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
    context = parse(manifest.context)
    for part in names(context):
        if part != key and part not in plan.train:
            add_stored_module(plan, part, under=(*under, key))
    for exposure in manifest.exposure:
        if digest := exposure["data"]:
            plan.data[digest] = store.load_data_set(digest)
    job = StoredModule(
        key=key,
        title=manifest.role,
        mixture=mixture.from_record(manifest.trained_on, manifest.mixture),
        method=from_record(manifest.method),
        seed=manifest.seed,
        context=context,
        exposure=tuple(Exposure(**exposure) for exposure in manifest.exposure),
        chance=manifest.chance,
        spaces=tuple(manifest.heads),
        init_fingerprint=_init_fingerprint(manifest),
        training=manifest.training,
    )
    plan.train[key] = job
    return job


def _init_fingerprint(manifest: Manifest) -> str | None:
    """The digest of a module's first values, where it is known: never of one from elsewhere."""
    if manifest.source:
        return None
    training = manifest.training
    if training.get("born"):
        return training["born"]
    if training["start"] or manifest.merge:
        return None
    drawn = training.get("drawn") or manifest.trained_on
    return init_fingerprint(manifest.encoder, from_record(manifest.method), manifest.seed, drawn)
