"""Modules as other libraries have them: as their models, as their folders, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from adapters_xitt.api.common import encoder_of
from adapters_xitt.api.expressions import parse_expression
from adapters_xitt.api.modules import Module
from adapters_xitt.api.options import check_choice, store_root
from adapters_xitt.errors import XittError
from adapters_xitt.model import libraries, pretrained
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.modules import composition as nodes
from adapters_xitt.modules import manifest
from adapters_xitt.modules.composition import Composition
from adapters_xitt.modules.formats import pickles
from adapters_xitt.sharing import exporting, importing
from adapters_xitt.study.store import Store


def to_peft(
    composition: str | Module,
    *,
    encoder: str | None = None,
    task: str | None = None,
    store: str | Path | None = None,
) -> tuple[Any, Any]:
    """A `PeftModel` and its tokenizer, which compute what the expression does: a low-rank module,
    or a sum of several.

    The model stands over transformers' class for the head for `task`, or the only one; its outputs
    are logits [sequences, labels], or as that class has them. It is in evaluation mode, in float32,
    on the CPU. `encoder` is asked for where a module was taken in from elsewhere. A `XittError`
    says why peft has no form of the whole.

    >>> model, tokenizer = to_peft("a + 0.5*b", store="docs")
    >>> model(**tokenizer("a", "b", return_tensors="pt")).logits.shape
    torch.Size([1, 3])
    """
    tree, modules, files = _parts(str(composition), encoder, store)
    return libraries.to_peft(tree, modules, files, task=task)


def to_adapters(
    composition: str | Module,
    *,
    encoder: str | None = None,
    task: str | None = None,
    choices: int = 2,
    store: str | Path | None = None,
) -> tuple[Any, Any]:
    """An `XLMRobertaAdapterModel` and its tokenizer, which compute what the expression does: a
    module, a stack of bottlenecks, or a trained fusion.

    With the head for `task`, or the only one, active: logits [sequences, labels], or [items,
    `choices`] of sequences given in groups of `choices`. It is in evaluation mode, in float32, on
    the CPU. A `XittError` says why adapters has no form of the whole.

    >>> model, tokenizer = to_adapters("a", store="docs")
    >>> model(**tokenizer("a", "b", return_tensors="pt")).logits.shape
    torch.Size([1, 3])
    """
    tree, modules, files = _parts(str(composition), encoder, store)
    return libraries.to_adapters(tree, modules, files, task=task, choices=choices)


def _parts(
    text: str, encoder: str | None, store: str | Path | None
) -> tuple[Composition, dict[str, manifest.Module], EncoderFiles]:
    """An expression over keys, its modules, and the files of their encoder."""
    stored = Store(store_root(store))
    expression = parse_expression(text, stored)
    tree = expression.composition
    modules = {key: stored.load_module(key) for key in nodes.names(tree)}
    first = next((module.manifest for module in modules.values()), None)
    return tree, modules, pretrained.inspect(encoder_of(first, encoder))


def export(
    module: str | Module,
    folder: str | Path,
    *,
    form: str = "xitt",
    task: str | None = None,
    with_head: bool = True,
    store: str | Path | None = None,
) -> list[str]:
    """Writes a module into a new folder that xitt, adapters (`load_adapter`) or peft
    (`PeftModel.from_pretrained`) reads, with the head for `task`, or the only one. What whoever
    loads it must know, in sentences. A `XittError` where the folder is there, or the library has no
    form of the module.

    >>> export("a", "a-for-peft", form="peft", store="docs")
    ['the outputs of its head, in order: contradiction entailment neutral']
    """
    check_choice("form", form, exporting.FORMS)
    root = store_root(store)
    return exporting.export(
        str(module), Path(folder), form=form, task=task, with_head=with_head, store=root
    )


def import_module(
    folder: str | Path,
    *,
    name: str,
    store: str | Path | None = None,
    **options: Unpack[importing.ImportOptions],
) -> Module:
    """Takes the module in a folder, ours or of adapters or peft, into the store, and calls it
    `name`. What a folder can't say is asked for: `encoder`, `task` (what its head answers),
    `labels` (what the head's outputs mean, in their order), `trained_in` (languages it has seen).
    What else a foreign module has seen stays unknown, and the cells it reaches carry a star. A
    `XittError` with all that is missing, or doesn't fit.

    >>> notes = export("a", "a-to-import", store="docs")
    >>> import_module("a-to-import", name="again", store="elsewhere").manifest.trained_on
    'demo-nli'
    """
    root = store_root(store)
    manifest = importing.import_module(Path(folder), name=name, store=root, **options)
    return Module(manifest.key, root, name)


def convert(
    path: str | Path, *, trust_pickle: bool = False, out: str | Path | None = None
) -> list[Path]:
    """Turns the pickled weights in a file, or all of a module's folder, into safetensors files,
    which it gives. Only tensors are read, in a process of its own; what a pickle asks to run is not
    run. A `XittError` where nobody says that the pickle is trusted.

    >>> import torch
    >>> torch.save({"weight": torch.ones(2)}, "adapter_model.bin")
    >>> convert("adapter_model.bin", trust_pickle=True)[0].name
    'adapter_model.safetensors'
    """
    pickled = Path(path)
    if not pickled.is_dir():
        return [pickles.convert(pickled, Path(out) if out else None, trusted=trust_pickle)]
    if out:
        raise XittError(
            f"--out {out}: a folder's files get the names that its library reads, beside the"
            " pickles"
        )
    return list(pickles.convert_folder(pickled, trusted=trust_pickle))
