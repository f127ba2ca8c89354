"""Modules given out: as folders of ours, of adapters or of peft."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters_xitt.errors import XittError
from adapters_xitt.modules import composition, methods
from adapters_xitt.modules.composition import Part
from adapters_xitt.modules.formats import adapterhub, foreign, peft
from adapters_xitt.modules.manifest import Manifest, Module
from adapters_xitt.progress import notify
from adapters_xitt.sharing import bundle
from adapters_xitt.sharing.card import Form
from adapters_xitt.study.store import Store, default_root

FORMS = ("xitt", "adapters", "peft")


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
    stored = Store(store or default_root())
    module = stored.load_module(bundle.resolver(stored, tell=notify)(word))
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
    with stored.whole_folder(folder) as work:
        if form == "xitt":
            modules, notes = bundle.give(stored, module.manifest.key, work)
            parts = len(modules) - 1
            first = f"{parts} modules that it was trained with lie in {bundle.PARTS}/"
            return [first, *notes] if parts else notes
        head = foreign.head_for(module, task) if with_head else None
        return _Export(stored, module, head, work).write(form)


@dataclass(frozen=True)
class _Export:
    """A module on its way into a folder of another library."""

    store: Store
    module: Module
    head: foreign.Head | None
    folder: Path

    def write(self, form: str) -> list[str]:
        """Writes it; what whoever loads it must know."""
        manifest, head = self.module.manifest, self.head
        context = composition.parse(manifest.context)
        fused = composition.fusion_parts(context, manifest.key)
        notes: list[str] = []
        name = ""
        if form == "peft":
            peft.write(
                self.folder,
                choice=methods.from_record(manifest.method),
                tensors=self.module.part("encoder"),
                encoder_name=manifest.encoder_name,
                head=head,
            )
        else:
            name, notes = self._write_adapters(fused)
        if head and head.labels:
            notes.append(f"the outputs of its head, in order: {' '.join(head.labels)}")
        if head and head.kind == "choice" and form == "adapters":
            notes.append(
                "its head asks for two choices at once; for another number set "
                f"model.heads[{name!r}].config['num_choices']"
            )
        others = [key for key in composition.names(context) if key not in (manifest.key, *fused)]
        if others:
            shown = composition.rename(
                context, lambda key: Part(_name(self.store, self.store.manifest(key)))
            )
            notes.append(
                f"it was trained in {composition.show(shown)}, and is whole only there: give out"
                " the others too"
            )
        return notes

    def _write_adapters(self, fused: Iterable[str]) -> tuple[str, list[str]]:
        """AdapterHub's form, with the parts of a fusion below it; its name there, and notes."""
        manifest = self.module.manifest
        names: list[str] = []
        for key in fused:
            part = self.store.load_module(key)
            name = _unlike(_name(self.store, part.manifest), names)
            names.append(name)
            (self.folder / name).mkdir()
            adapterhub.write(
                self.folder / name,
                name=name,
                choice=methods.from_record(part.manifest.method),
                head=None,
                tensors=part.part("encoder"),
                encoder_name=manifest.encoder_name,
            )
        name = ",".join(names) or _name(self.store, manifest)
        adapterhub.write(
            self.folder,
            name=name,
            choice=methods.from_record(manifest.method),
            tensors=self.module.part("encoder"),
            encoder_name=manifest.encoder_name,
            head=self.head,
            over=tuple(names),
        )
        note = f"its name there is {name!r}; load it with use_safetensors=True"
        if names:
            note += f", after its parts in {', '.join(names)}"
        return name, [note]


def forms(folder: Path, modules: Mapping[str, Module]) -> list[Form]:
    """Writes, beside our form of a bundle, that of adapters or of peft, where the whole of it has
    one: a module alone, a stack of bottlenecks, a sum of low-rank updates; with its head, where it
    has one and the library a form of it."""
    first = next(iter(modules))
    tree = composition.parse(modules[first].manifest.context)
    nodes = tree.parts if isinstance(tree, composition.Stack | composition.Sum) else (tree,)
    keys = [node.name for node in nodes if isinstance(node, Part)]
    records = (module.manifest.method for module in modules.values())
    engines = {methods.from_record(record).spec.engine for record in records}
    if len(keys) < len(nodes) or engines not in ({"adapters"}, {"peft"}):
        return []
    library, below = engines.pop(), []
    has_one = len(modules[first].manifest.heads) == 1
    head = foreign.head_for(modules[first], None) if has_one else None
    writes_head = peft.has_head if library == "peft" else adapterhub.writes_head
    if head and not writes_head(head.kind):
        head = None
    for key in keys:
        subfolder = "" if key == first else f"{bundle.PARTS}/{key}/{library}"
        (folder / subfolder).mkdir(parents=True, exist_ok=True)
        if library == "peft":
            _write_peft(folder / subfolder, modules[key], head, key == first, len(keys) == 1)
        else:
            _write_adapter(folder / subfolder, modules[key], head if key == first else None)
        below += [subfolder] if subfolder else []
    if not head:
        return [Form(engine=library, below=tuple(below))]
    return [
        Form(engine=library, below=tuple(below), head=head.kind, labels=tuple(head.labels or ()))
    ]


def _write_peft(
    folder: Path, module: Module, head: foreign.Head | None, has_head: bool, alone: bool
) -> None:
    peft.write(
        folder,
        choice=methods.from_record(module.manifest.method),
        tensors=module.part("encoder"),
        encoder_name=module.manifest.encoder_name,
        head=head if has_head else None,
        above=head.kind if head else None,
        alone=alone,
    )


def _write_adapter(folder: Path, module: Module, head: foreign.Head | None) -> None:
    manifest = module.manifest
    adapterhub.write(
        folder,
        name=_plain_name(f"{manifest.trained_on}-{manifest.key[:6]}"),
        choice=methods.from_record(manifest.method),
        tensors=module.part("encoder"),
        encoder_name=manifest.encoder_name,
        head=head,
    )


def _name(store: Store, manifest: Manifest) -> str:
    """A name for a module that both libraries and file systems take."""
    names = (name for name, key in store.names().items() if key == manifest.key)
    return _plain_name(next(names, manifest.trained_on))


def _plain_name(word: str) -> str:
    from torch.nn import ModuleDict

    name = re.sub(r"[^a-z0-9_-]+", "_", word.lower()).strip("_")[:60] or "module"
    # torch takes no child that is called like a method
    return f"{name}_" if hasattr(ModuleDict, name) else name


def _unlike(name: str, taken: Iterable[str]) -> str:
    """The name, with a number where it is taken."""
    names = [name, *(f"{name}_{number}" for number in range(2, 100))]
    return next(each for each in names if each not in taken)
