"""Modules taken in: from folders of ours, of adapters or of peft."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from adapters_xitt import hashing, safe_files, tasks
from adapters_xitt.data import mixture
from adapters_xitt.data.exposure import UNKNOWN, Exposure
from adapters_xitt.errors import Problems, XittError, unknown
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.model import pretrained
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.modules import composition
from adapters_xitt.modules.formats import adapterhub, foreign, peft
from adapters_xitt.modules.formats.foreign import ForeignModule, Head
from adapters_xitt.modules.manifest import Manifest, Module
from adapters_xitt.progress import notify
from adapters_xitt.sharing import bundle, foreign_heads
from adapters_xitt.study.store import Store, check_name, default_root
from adapters_xitt.tasks import Task
from adapters_xitt.text import printable


class ImportOptions(TypedDict, total=False):
    """What a folder of another library can't say of its module."""

    encoder: str | None  # the encoder it stands on
    task: str | None  # what its head answers
    labels: Sequence[str]  # what the head's outputs mean, in their order
    trained_in: Sequence[str]  # languages it is known to have seen
    with_head: bool  # False leaves the head where it is


@dataclass(frozen=True, kw_only=True)
class _Claims:
    """What whoever takes a module in says of it."""

    task: str | None = None
    labels: Sequence[str] = ()
    trained_in: Sequence[str] = ()

    @property
    def exposure(self) -> list[dict[str, str]]:
        """What it has seen: what is claimed, and what nobody knows."""
        task = self.task or ""
        seen = [Exposure(task, code, "trained", "") for code in self.trained_in]
        return [record.record() for record in (*seen, Exposure(task, "", UNKNOWN, ""))]


def import_module(
    folder: Path,
    *,
    name: str,
    store: Path | None = None,
    **options: Unpack[ImportOptions],
) -> Manifest:
    """Makes a module of the store, called `name`, from a folder of ours, of adapters or of peft.
    What a folder of theirs can't say must be given: its encoder, its head's task, and its labels in
    the order of the head's outputs; `trained_in` are languages it is known to have seen. What else
    it has seen stays unknown, and its cells carry a star. A `XittError` with all that is missing,
    or with all that doesn't fit."""
    check_name(name)
    folder = foreign.module_folder(folder)
    stored, form = Store(store or default_root()), foreign.form_of(folder)
    if form == "xitt":
        words = ("encoder", "task", "labels", "trained_in")
        if given := [f"--{word.replace('_', '-')}" for word in words if options.get(word)]:
            raise XittError(f"{folder}: a module of ours says itself what {', '.join(given)} would")
        key = bundle.unpack(folder, stored)
    else:
        module = _read(form, folder, options.get("with_head", True))
        claims = _Claims(
            task=options.get("task"),
            labels=options.get("labels", ()),
            trained_in=options.get("trained_in", ()),
        )
        encoder = options.get("encoder") or ""
        _check_complete(module, encoder, claims)
        key = _take(module, pretrained.inspect(encoder), stored, claims, name)
    stored.give_name(name, key, tell=notify)
    return stored.manifest(key)


def _read(form: str, folder: Path, with_head: bool) -> ForeignModule:
    return (peft if form == "peft" else adapterhub).read(folder, with_head=with_head)


def _take(
    module: ForeignModule, encoder: EncoderFiles, store: Store, claims: _Claims, name: str
) -> str:
    """Saves a module, and before it those that a fusion is over; its key."""
    parts = []
    for part in module.over:
        below = _read(module.form, _part_folder(module.folder, part), False)
        if below.name != part:
            raise XittError(f"{below.folder}: it holds {below.name!r}, the fusion is over {part!r}")
        parts.append(_save(below, encoder, store, _Claims()))
    key = _save(module, encoder, store, claims, parts=parts)
    for part, part_key in zip(module.over, parts, strict=True):
        store.give_name(f"{name}.{part.lower()}", part_key)
    return key


def _part_folder(folder: Path, part: str) -> Path:
    """Where a module that a fusion is over lies: below the fusion's folder, or beside it."""
    for above in (folder, folder.resolve().parent):
        if (safe_files.inside(above, part) / foreign.CONFIG).is_file():
            return above / part
    raise XittError(
        f"{folder}: a fusion over {part!r}, which lies neither in {folder / part} nor beside the"
        " fusion's folder; save it there"
    )


def _check_complete(module: ForeignModule, encoder: str, claims: _Claims) -> None:
    """Tells at once all that the folder doesn't say and nobody gave."""
    head = module.head
    problems = Problems(f"{module.folder}: a folder of {module.form} doesn't say everything")
    if not encoder:
        problems.add(
            f"--encoder: the encoder it stands on; it calls it {printable(module.made_for)!r}"
        )
    if head:
        _check_head(head, claims, problems)
    if claims.labels and (not head or head.kind in foreign.OUTPUTS):
        problems.add("--labels: it has no head with labels")
    for code in claims.trained_in:
        if code not in LANGUAGES:
            problems.add(f"--trained-in: {unknown('language', code, LANGUAGES)}")
    problems.raise_if_any()


def _check_head(head: Head, claims: _Claims, problems: Problems) -> None:
    labels = tuple(claims.labels) or head.labels
    if not claims.task and (fitting := foreign_heads.answered_tasks(head, labels)):
        named = f", labels {printable(' '.join(labels))}" if labels else ""
        problems.add(
            f"--task: what its head answers ({head.kind}{named}); it could be"
            f" {', '.join(fitting)}, or leave it with --without-head"
        )
    if head.labels is None and not claims.labels:
        task = tasks.task(claims.task) if claims.task else None
        example = ",".join(task.labels) if task and task.labels else "yes,no"
        problems.add(
            f"--labels: what the {head.outputs} outputs of its head mean, in their order, as in "
            f"--labels {example}"
        )


def _save(
    module: ForeignModule,
    encoder: EncoderFiles,
    store: Store,
    claims: _Claims,
    *,
    parts: Sequence[str] = (),
) -> str:
    """Saves a module of another library as one of the store; its key. `parts`: the keys of those
    that a fusion is over."""
    choice = foreign.fit(module, layers=encoder.layers, width=encoder.width, wide=encoder.wide)
    tensors = {f"encoder.{name}": tensor for name, tensor in module.tensors.items()}
    task = tasks.task(claims.task) if claims.task else None
    heads: dict[str, Any] = {}
    if module.head:
        fitted = foreign_heads.fit_head(module, module.head, task, claims.labels, encoder)
        task = fitted.task
        heads = {fitted.space: {"kind": fitted.kind, "labels": list(fitted.labels)}}
        tensors |= {f"head.{fitted.space}.{name}": each for name, each in fitted.tensors.items()}
    digest = hashing.tensors_digest(tensors)
    exposure = claims.exposure
    key = hashing.key(
        "import",
        {
            "tensors": digest,
            "encoder": encoder.fingerprint,
            "method": choice.record(),
            "heads": heads,
            "over": list(parts),
            "exposure": exposure,
        },
    )
    trained_on = _mixture(module, task, claims)
    manifest = Manifest(
        key=key,
        digest=digest,
        encoder=encoder.fingerprint,
        encoder_name=encoder.name,
        method=choice.record(),
        trained_on=trained_on.name,
        mixture=trained_on.record(),
        heads=heads,
        languages=list(claims.trained_in),
        seed=0,
        context=composition.show(_context(key, parts)),
        role=f"{printable(module.name)}, {choice.label}, taken in from {module.form}",
        exposure=exposure,
        metrics={"score": None, "headline": task.main_score if task else ""},
        training={
            "learning_rate": 0.0,
            "start": None,
            "below": list(parts),
            "carry_pooler": False,
            "made_for": printable(module.made_for),
        },
        versions={module.form: printable(module.version)},
        source=module.form,
    )
    store.save_module(Module(manifest, tensors))
    return key


def _context(key: str, parts: Sequence[str]) -> composition.Composition:
    """What a module was trained in: alone, or as a fusion over others."""
    if not parts:
        return composition.Part(key)
    return composition.Fuse(tuple(composition.Part(part) for part in parts), key)


def _mixture(module: ForeignModule, task: Task | None, claims: _Claims) -> mixture.Mixture:
    """What a module was trained on, as far as somebody says so."""
    if not (task and task.trains and claims.trained_in):
        return mixture.Mixture(claims.task or printable(module.name), ())
    (portion,) = mixture.single(f"{task.name}@{'+'.join(claims.trained_in)}").portions
    labelled = replace(portion, labels=task.labels if task.open else ())
    return mixture.Mixture(portion.text, (labelled,))
