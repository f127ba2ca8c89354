"""What `xitt export` and `xitt import` do: modules given out to other libraries, and theirs taken
in."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, Unpack

from adapters_xitt import hashing, safe_files, tasks
from adapters_xitt.data import mixture
from adapters_xitt.data.exposure import UNKNOWN, Exposure
from adapters_xitt.errors import Problems, XittError, unknown
from adapters_xitt.languages import LANGUAGES
from adapters_xitt.model import pretrained
from adapters_xitt.modules import composition, methods, serialization
from adapters_xitt.modules.formats import adapterhub, foreign, peft
from adapters_xitt.progress import notify
from adapters_xitt.sharing import bundle
from adapters_xitt.sharing.card import Form
from adapters_xitt.study.store import Store, check_name, default_root
from adapters_xitt.text import printable

FORMS = ("xitt", "adapters", "peft")

# -- giving one out --------------------------------------------------------------------------------


def export(
    word: str,
    folder: Path,
    *,
    form: str,
    store: Path | None,
    task: str | None = None,
    with_head: bool = True,
) -> list[str]:
    """Writes a module of the store into a new `folder`, in our form (xitt), AdapterHub's (adapters)
    or PEFT's (peft), with the head for `task` or its only one. What whoever loads it must know, in
    sentences."""
    where = Store(store or default_root())
    module = where.load_module(bundle.resolver(where, tell=notify)(word))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise XittError(f"{folder}: is there already; name a folder that isn't")
    method = methods.from_record(module.manifest.method).spec
    if form != "xitt" and method.no_library:
        raise XittError(
            f"{word}: has no form of {form}: {method.no_library}. --form xitt writes ours"
        )
    if form == "peft" and not method.is_update:
        raise XittError(
            f"{word}: has no form of peft, which knows low-rank updates only; write --form adapters"
        )
    with where.whole_folder(folder) as work:
        if form == "xitt":
            modules, notes = bundle.give(where, module.manifest.key, work)
            parts = len(modules) - 1
            return [
                *(
                    [f"{parts} modules that it was trained with lie in {bundle.PARTS}/"]
                    if parts
                    else []
                ),
                *notes,
            ]
        return _give_foreign(
            module, work, where, form, foreign.head_for(module, task) if with_head else None
        )


def forms(folder: Path, modules: Mapping[str, serialization.Module]) -> list[Form]:
    """Writes, beside our form of a parcel, that of adapters or of peft, where the whole of it has
    one: a module alone, a stack of bottlenecks, a sum of low-rank updates; with its head, where it
    has one and the library a form of it."""
    own = next(iter(modules))
    written = composition.parse(modules[own].manifest.context)
    parts = (
        written.parts if isinstance(written, composition.Stack | composition.Sum) else (written,)
    )
    chosen = {key: methods.from_record(module.manifest.method) for key, module in modules.items()}
    engines = {choice.spec.engine for choice in chosen.values()}
    if not all(isinstance(part, composition.Part) for part in parts) or engines not in (
        {"adapters"},
        {"peft"},
    ):
        return []
    library, below = engines.pop(), []
    head = foreign.head_for(modules[own], None) if len(modules[own].manifest.heads) == 1 else None
    if head and head.kind == "mlm" and library == "adapters":  # it would carry the whole vocabulary
        head = None
    for part in parts:
        module = modules[part.name]
        place = folder if part.name == own else folder / bundle.PARTS / part.name / library
        place.mkdir(parents=True, exist_ok=True)
        given = {
            "choice": chosen[part.name],
            "tensors": module.part("encoder"),
            "head": head if part.name == own else None,
            "encoder_name": module.manifest.encoder_name,
        }
        if library == "peft":
            peft.write(place, **given, above=head.kind if head else None, alone=len(parts) == 1)
        else:
            adapterhub.write(
                place, name=_plainly(f"{module.manifest.trained_on}-{part.name[:6]}"), **given
            )
        below += [] if part.name == own else [f"{bundle.PARTS}/{part.name}/{library}"]
    told = {"head": head.kind, "labels": head.labels or ()} if head else {}
    return [Form(engine=library, below=tuple(below), **told)]


def _others(manifest: serialization.Manifest) -> list[str]:
    """The modules, by key, that a module was trained above, beside or over."""
    return [
        key for key in composition.names(composition.parse(manifest.context)) if key != manifest.key
    ]


def _give_foreign(
    module: serialization.Module, work: Path, where: Store, form: str, head: foreign.Head | None
) -> list[str]:
    manifest = module.manifest
    choice, tensors = methods.from_record(manifest.method), module.part("encoder")
    context = composition.parse(manifest.context)
    over = {key: "" for key in composition.fusion_parts(context, manifest.key)}
    told = []
    if form == "peft":
        peft.write(
            work, choice=choice, tensors=tensors, encoder_name=manifest.encoder_name, head=head
        )
    else:
        for key in over:
            part = where.load_module(key)
            over[key] = _unlike(_called(where, part.manifest), list(over.values()))
            (work / over[key]).mkdir()
            adapterhub.write(
                work / over[key],
                name=over[key],
                choice=methods.from_record(part.manifest.method),
                head=None,
                tensors=part.part("encoder"),
                encoder_name=manifest.encoder_name,
            )
        name = ",".join(over.values()) or _called(where, manifest)
        adapterhub.write(
            work,
            name=name,
            choice=choice,
            tensors=tensors,
            encoder_name=manifest.encoder_name,
            head=head,
            over=tuple(over.values()),
        )
        told.append(
            f"its name there is {name!r}; load it with use_safetensors=True"
            + (f", after its parts in {', '.join(over.values())}" if over else "")
        )
    if head and head.labels:
        told.append(f"the outputs of its head, in order: {' '.join(head.labels)}")
    if head and head.kind == "choice" and form == "adapters":
        told.append(
            "its head asks for two choices at once; for another number set "
            f"model.heads[{name!r}].config['num_choices']"
        )
    rest = [key for key in _others(manifest) if key not in over]
    if rest:
        shown = composition.rename(
            context, lambda key: composition.Part(_called(where, where.manifest(key)))
        )
        told.append(
            f"it was trained in {composition.show(shown)}, and is whole only there: give out the"
            " others too"
        )
    return told


def _called(where: Store, manifest: serialization.Manifest) -> str:
    """A name for a module that both libraries and file systems take."""
    return _plainly(
        next(
            (name for name, key in where.names().items() if key == manifest.key),
            manifest.trained_on,
        )
    )


def _plainly(word: str) -> str:
    from torch.nn import ModuleDict

    name = re.sub(r"[^a-z0-9_-]+", "_", word.lower()).strip("_")[:60] or "module"
    # torch takes no child that is called like a method
    return f"{name}_" if hasattr(ModuleDict, name) else name


def _unlike(name: str, taken: Iterable[str]) -> str:
    """The name, with a number where it is taken."""
    names = [name, *(f"{name}_{at}" for at in range(2, 100))]
    return next(one for one in names if one not in taken)


# -- taking one in ---------------------------------------------------------------------------------


class ImportOptions(TypedDict, total=False):
    """What a folder of another library can't say of its module."""

    encoder: str | None  # the encoder it stands on
    task: str | None  # what its head answers
    labels: Sequence[str]  # what the head's outputs mean, in their order
    trained_in: Sequence[str]  # languages it is known to have seen
    with_head: bool  # False leaves the head where it is


def take_in(
    folder: Path,
    *,
    name: str,
    store: Path | None = None,
    **options: Unpack[ImportOptions],
) -> serialization.Manifest:
    """Makes a module of the store, called `name`, from a folder of ours, of adapters or of peft.
    What a folder of theirs can't say must be given: its encoder, its head's task, and its labels in
    the order of the head's outputs; `trained_in` are languages it is known to have seen. What else
    it has seen stays unknown, and its cells carry a star. A `XittError` with all that is missing,
    or with all that doesn't fit."""
    check_name(name)
    encoder, task = options.get("encoder"), options.get("task")
    labels, trained_in = options.get("labels", ()), options.get("trained_in", ())
    with_head = options.get("with_head", True)
    folder = foreign.module_folder(folder)
    where, form = Store(store or default_root()), foreign.form_of(folder)
    if form == "xitt":
        if given := [
            option
            for option, value in (
                ("--encoder", encoder),
                ("--task", task),
                ("--labels", labels),
                ("--trained-in", trained_in),
            )
            if value
        ]:
            raise XittError(f"{folder}: a module of ours says itself what {', '.join(given)} would")
        key = bundle.unpack(folder, where)
    else:
        found = _read(form, folder, with_head)
        _ask(found, encoder, task, labels, trained_in)
        known = pretrained.inspect(encoder)
        parts = []
        for part in found.over:
            own = _read(form, _part_folder(folder, part), False)
            if own.name != part:
                raise XittError(f"{own.folder}: it holds {own.name!r}, the fusion is over {part!r}")
            parts.append(_made(own, known, where, task=None, labels=(), trained_in=()))
        key = _made(
            found, known, where, task=task, labels=labels, trained_in=trained_in, parts=parts
        )
        for part, one in zip(found.over, parts, strict=True):
            where.give_name(f"{name}.{part.lower()}", one)
    where.give_name(name, key, tell=notify)
    return where.manifest(key)


def _read(form: str, folder: Path, with_head: bool) -> foreign.ForeignModule:
    return (peft if form == "peft" else adapterhub).read(folder, with_head=with_head)


def _part_folder(folder: Path, part: str) -> Path:
    """Where a module that a fusion is over lies: below the fusion's folder, or beside it."""
    for above in (folder, folder.resolve().parent):
        if (safe_files.inside(above, part) / foreign.CONFIG).is_file():
            return above / part
    raise XittError(
        f"{folder}: a fusion over {part!r}, which lies neither in {folder / part} nor beside the"
        " fusion's folder; save it there"
    )


def _ask(
    found: foreign.ForeignModule,
    encoder: str | None,
    task: str | None,
    labels: Sequence[str],
    trained_in: Sequence[str],
) -> None:
    """Tells at once all that the folder doesn't say and nobody gave."""
    head, problems = (
        found.head,
        Problems(f"{found.folder}: a folder of {found.form} doesn't say everything"),
    )
    if not encoder:
        problems.add(
            f"--encoder: the encoder it stands on; it calls it {printable(found.made_for)!r}"
        )
    given = tuple(labels) or (head.labels if head else None)
    if head and not task and (fits := _answers(head, given)):
        problems.add(
            f"--task: what its head answers ({head.kind}"
            + (f", labels {printable(' '.join(given))}" if given else "")
            + f"); it could be {', '.join(fits)}, or leave it with --without-head"
        )
    if head and head.labels is None and not labels:
        row = tasks.task(task) if task else None
        problems.add(
            f"--labels: what the {head.outputs} outputs of its head mean, in their order, as in "
            f"--labels {','.join(row.labels) if row and row.labels else 'yes,no'}"
        )
    if labels and (not head or head.kind in foreign.OUTPUTS):
        problems.add("--labels: it has no head with labels")
    for code in trained_in:
        if code not in LANGUAGES:
            problems.add(f"--trained-in: {unknown('language', code, LANGUAGES)}")
    problems.raise_if_any()


def _answers(head: foreign.Head, labels: Sequence[str] | None) -> list[str]:
    """The tasks that a head could answer, by its kind and labels, or by the number of its outputs
    where nobody has named them."""
    rows = [row for row in tasks.TASKS.values() if row.trains and row.kind == head.kind]
    if head.kind in foreign.OUTPUTS:
        return [row.name for row in rows]
    return [
        row.name
        for row in rows
        if (sorted(row.labels) == sorted(labels) if labels else len(row.labels) == head.outputs)
    ]


def _made(
    found: foreign.ForeignModule,
    known: pretrained.EncoderFiles,
    where: Store,
    *,
    task: str | None,
    labels: Sequence[str],
    trained_in: Sequence[str],
    parts: Sequence[str] = (),
) -> str:
    """Saves a module of another library as one of the store; its key."""
    choice = foreign.fit(found, layers=known.layers, width=known.width, wide=known.wide)
    tensors = {f"encoder.{name}": one for name, one in found.tensors.items()}
    row, heads = tasks.task(task) if task else None, {}
    if found.head and row:
        row, own = _fitted(found, row, labels, known)
        heads[mixture.space(row)] = {"kind": row.kind, "labels": list(row.labels)}
        tensors |= {f"head.{mixture.space(row)}.{name}": one for name, one in own.items()}
    elif found.head:
        space, heads = _kept(found, labels)
        tensors |= {f"head.{space}.{name}": one for name, one in found.head.tensors.items()}
    exposure = [Exposure(task or "", code, "trained", "").record() for code in trained_in]
    exposure.append(Exposure(task or "", "", UNKNOWN, "").record())
    digest = hashing.tensors_digest(tensors)
    key = hashing.key(
        "import",
        {
            "tensors": digest,
            "encoder": known.fingerprint,
            "method": choice.record(),
            "heads": heads,
            "over": list(parts),
            "exposure": exposure,
        },
    )
    mixed = mixture.Mixture(task or printable(found.name), ())
    if row and row.trains and trained_in:
        (portion,) = mixture.single(f"{row.name}@{'+'.join(trained_in)}").portions
        mixed = mixture.Mixture(
            portion.text, (replace(portion, labels=row.labels if row.open else ()),)
        )
    context = (
        composition.Fuse(tuple(composition.Part(part) for part in parts), key)
        if parts
        else composition.Part(key)
    )
    manifest = serialization.Manifest(
        key=key,
        digest=digest,
        encoder=known.fingerprint,
        encoder_name=known.name,
        method=choice.record(),
        trained_on=mixed.name,
        mixture=mixed.record(),
        heads=heads,
        languages=list(trained_in),
        seed=0,
        context=composition.show(context),
        role=f"{printable(found.name)}, {choice.label}, taken in from {found.form}",
        exposure=exposure,
        metrics={"score": None, "headline": row.main_score if row else ""},
        training={
            "learning_rate": 0.0,
            "start": None,
            "below": list(parts),
            "carry_pooler": False,
            "made_for": printable(found.made_for),
        },
        versions={found.form: printable(found.version)},
        source=found.form,
    )
    where.save_module(serialization.Module(manifest, tensors))
    return key


def _kept(
    found: foreign.ForeignModule, labels: Sequence[str]
) -> tuple[str, dict[str, dict[str, object]]]:
    """The label space of a head that answers none of the tasks, and the head as a manifest has it:
    its outputs mean what its own data called them."""
    head = found.head
    given = _distinct(found, labels)
    subsets = [
        row.name
        for row in tasks.TASKS.values()
        if head.kind == row.kind == "tagging" and row.labels and set(row.labels) < set(given)
    ]
    notify(
        f"its head is kept with labels of its own ({printable(' '.join(given[:20]))}), which no"
        " task has: it is scored on none"
        + (
            f"; --task keeps the outputs of one whose labels are among them: {', '.join(subsets)}"
            if subsets
            else ""
        )
    )
    space = mixture.space_of(head.kind, given)
    return space, {space: {"kind": head.kind, "labels": list(given)}}


def _distinct(found: foreign.ForeignModule, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels of a head's outputs, given or its own: one each."""
    given = tuple(labels) or found.head.labels
    if len(given) != found.head.outputs or len(set(given)) < len(given):
        raise XittError(
            f"{found.folder}: {len(given)} labels ({printable(' '.join(given))}) for a head with "
            f"{found.head.outputs} outputs; each output has one of its own"
        )
    return given


def _fitted(
    found: foreign.ForeignModule,
    row: tasks.Task,
    labels: Sequence[str],
    known: pretrained.EncoderFiles,
) -> tuple[tasks.Task, foreign.Tensors]:
    """The task with its labels, and the head with its outputs in the order of the task's labels."""
    head = found.head
    if head.kind != row.kind:
        raise XittError(
            f"{found.folder}: its head is of kind {head.kind}, {row.name} is of kind {row.kind}"
        )
    if head.kind == "mlm":
        _check_tied(found, known)
    if head.kind in foreign.OUTPUTS:
        return row, head.tensors
    given = _distinct(found, labels)
    if not row.labels:  # only its data knows them
        return replace(row, labels=given), head.tensors
    more = [label for label in given if label not in row.labels]
    if set(row.labels) - set(given) or (more and row.kind != "tagging"):
        raise XittError(
            f"{found.folder}: its labels are {printable(' '.join(given))}, those of {row.name} are"
            f" {' '.join(row.labels)}; --labels names the head's outputs, in their order, in the"
            " words of the task; without --task it is kept with labels of its own"
        )
    if more:  # a word gets the likeliest of the task's tags
        notify(
            f"its outputs {printable(' '.join(more))} are left out: {row.name} has no such label"
        )
    order = [given.index(label) for label in row.labels]
    return row, {
        name: one[order] if name.startswith("out.") else one for name, one in head.tensors.items()
    }


def _check_tied(found: foreign.ForeignModule, known: pretrained.EncoderFiles) -> None:
    """A masked-language-model head stands on the encoder's own decoder here; another's would
    compute otherwise."""
    import torch

    own = pretrained.read_lm_head(known)
    table = own.get("decoder.weight")
    if table is None:
        table = next(
            one
            for name, one in pretrained.read_weights(known.folder)
            if name.endswith("word_embeddings.weight")
        )
    wanted = {
        "decoder.weight": table.float(),
        "decoder.bias": own.get("bias", torch.zeros(len(table))),
    }
    for name, one in found.head.tied.items():
        if one.shape != wanted[name].shape or not torch.equal(one, wanted[name]):
            raise XittError(
                f"{found.folder}: {name} of its masked-language-model head is not the encoder's"
                " own, on which such heads stand here; --without-head takes in the rest"
            )
