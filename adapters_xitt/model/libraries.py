"""Stored modules as a model of `adapters` or of `peft`, ready to run without this package.

The model stands on the encoder's own weights. A module goes in by the folder that `xitt export`
writes, read by the library's own loader, and the model's outputs are those of this package."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from adapters_xitt.errors import XittError
from adapters_xitt.model.encoder import own_name
from adapters_xitt.model.pretrained import EncoderFiles, load_tokenizer, read_lm_head, read_weights
from adapters_xitt.model.setup import AdapterSetup, resolve
from adapters_xitt.modules import composition, methods
from adapters_xitt.modules.composition import Composition
from adapters_xitt.modules.formats import adapterhub, foreign, peft
from adapters_xitt.modules.manifest import Module
from adapters_xitt.modules.methods import Choice


def to_adapters(
    expression: Composition,
    modules: Mapping[str, Module],
    files: EncoderFiles,
    *,
    task: str | None = None,
    choices: int = 2,
) -> tuple[Any, Any]:
    """An `XLMRobertaAdapterModel` and its tokenizer that compute what `expression` does.

    `expression` is over keys of `modules`: a module, a stack of bottlenecks, or a trained fusion
    below, above or between them. With the head for `task`, or the only one that the upper modules
    have, active; its outputs are logits [sequences, labels], [sequences, tokens, labels], start and
    end logits [sequences, tokens], or [items, `choices`] of sequences given in groups of `choices`.
    Without a head it gives hidden states [sequences, tokens, width]. The model is in evaluation
    mode, in float32, on the CPU. A `XittError` says why the library has no form of the whole."""
    setup, chosen = _resolve(expression, modules, files)
    if setup.updates and (setup.bottlenecks or len(setup.updates) > 1 or setup.weights):
        raise XittError(
            f"{_shown(expression, modules)}: `adapters` runs low-rank updates neither summed,"
            " weighted nor beside bottlenecks; peft sums them: to_peft()"
        )
    from adapters import XLMRobertaAdapterModel
    from adapters.composition import Fuse, Stack

    owner, head = _find_head(expression, modules, task)
    model = XLMRobertaAdapterModel(_library_config(files))
    _load_encoder(model.roberta, files)
    names = {key: _module_name(key) for key in chosen}
    over = composition.fusion_parts(expression, setup.fusion or "")
    if setup.fusion:
        names[setup.fusion] = ",".join(names[key] for key in over)  # the library's own way
    for key in sorted(chosen, key=lambda key: key == setup.fusion):  # a fusion after its parts
        with tempfile.TemporaryDirectory() as folder:
            adapterhub.write(
                Path(folder),
                name=names[key],
                choice=chosen[key],
                tensors=modules[key].part("encoder"),
                encoder_name=files.name,
                head=head if key == owner else None,
                over=tuple(names[part] for part in over) if key == setup.fusion else (),
            )
            load = model.load_adapter_fusion if key == setup.fusion else model.load_adapter
            load(folder, use_safetensors=True, with_head=bool(head) and key == owner)
    blocks = [
        names[block] if isinstance(block, str) else Fuse(*(names[key] for key in block))
        for block in (*setup.bottlenecks, *setup.updates)
    ]
    if blocks:
        model.set_active_adapters(blocks[0] if len(blocks) == 1 else Stack(*blocks))
    model.active_head = names[owner] if head else None
    if head and head.kind == "choice":
        model.heads[names[owner]].config["num_choices"] = choices
    return model.eval(), _tokenizer(files)


def to_peft(
    expression: Composition,
    modules: Mapping[str, Module],
    files: EncoderFiles,
    *,
    task: str | None = None,
) -> tuple[Any, Any]:
    """A `PeftModel` and its tokenizer that compute what `expression` does.

    `expression` is over keys of `modules`: a low-rank module or a sum of several, each with a
    number before it or without. It stands over transformers' class for the head for `task`, or the
    only one that the last modules have (`XLMRobertaForSequenceClassification`, …); without a head
    over `XLMRobertaModel`. Outputs are those of that class: logits [sequences, labels], [sequences,
    tokens, labels or vocabulary], [items, choices] of ids [items, choices, tokens], or start and
    end logits. The model is in evaluation mode, in float32, on the CPU. A `XittError` says why the
    library has no form of the whole."""
    setup, chosen = _resolve(expression, modules, files)
    if setup.bottlenecks or setup.fusion or not setup.updates:
        raise XittError(
            f"{_shown(expression, modules)}: has no form of peft, which knows low-rank updates and"
            " their sums only; to_adapters() gives the others"
        )
    owner, head = _find_head(expression, modules, task)
    from peft import PeftModel

    weights = dict(zip(setup.updates, setup.weights or (1.0,) * len(setup.updates), strict=True))
    model = _plain_model(files, head)
    loaded = None
    with tempfile.TemporaryDirectory() as temporary:
        # the module with the head comes first: peft makes room for a head then only
        for key in sorted(setup.updates, key=lambda key: key != owner):
            folder = Path(temporary, _module_name(key))
            folder.mkdir()
            peft.write(
                folder,
                choice=chosen[key],
                tensors=_weighted(modules[key].part("encoder"), weights[key]),
                encoder_name=files.name,
                head=head if key == owner else None,
                above=head.kind if head else None,
                alone=len(setup.updates) == 1,
            )
            if loaded is None:
                loaded = PeftModel.from_pretrained(model, str(folder), _module_name(key))
            else:
                loaded.load_adapter(str(folder), adapter_name=_module_name(key))
    assert loaded is not None  # there is an update
    adapters: Any = loaded.base_model
    adapters.set_adapter([_module_name(key) for key in setup.updates])
    loaded.requires_grad_(False)
    return loaded.eval(), _tokenizer(files)


def _resolve(
    expression: Composition, modules: Mapping[str, Module], files: EncoderFiles
) -> tuple[AdapterSetup, dict[str, Choice]]:
    """The form in which an expression runs, and the method of each module; the modules must be this
    encoder's."""
    chosen = {}
    for key in composition.names(expression):
        manifest = modules[key].manifest
        chosen[key] = methods.from_record(manifest.method)
        if manifest.encoder != files.fingerprint:
            raise XittError(
                f"module {key[:12]} was made for the encoder {manifest.encoder_name}"
                f" ({manifest.encoder[:12]}), this one is {files.name} ({files.fingerprint[:12]})"
            )
        if why := chosen[key].spec.no_library:
            raise XittError(f"{_shown(expression, modules)}: has no form of a library: {why}")
    return resolve(expression, chosen, files.layers), chosen


def _shown(expression: Composition, modules: Mapping[str, Module]) -> str:
    """An expression over keys, as a message shows it."""
    return composition.show(
        composition.rename(
            expression,
            lambda key: composition.Part(f"{modules[key].manifest.trained_on}-{key[:6]}"),
        )
    )


def _find_head(
    expression: Composition, modules: Mapping[str, Module], task: str | None
) -> tuple[str, foreign.Head | None]:
    """The head of an expression and the module whose it is: that of the first that has any."""
    for key in composition.heads(expression):
        if modules[key].manifest.heads:
            return key, foreign.head_for(modules[key], task)
    return "", None


def _module_name(key: str) -> str:
    """The name of a module in the library's model: short, and never the name of a layer."""
    return f"m{key[:24]}"


def _weighted(tensors: dict[str, Any], weight: float) -> dict[str, Any]:
    """An update times a number: the number goes into B."""
    return {
        name: weight * tensor if weight != 1 and ".lora_B." in name else tensor
        for name, tensor in tensors.items()
    }


def _library_config(files: EncoderFiles, labels: tuple[str, ...] = ()) -> Any:
    from transformers import XLMRobertaConfig

    config = XLMRobertaConfig(**files.config, attn_implementation="sdpa")
    if labels:
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
    return config


def _load_encoder(model: nn.Module, files: EncoderFiles) -> None:
    """Copies the encoder's stored weights into a library's model; a pooler there stays as it is."""
    weights = {name: tensor.float() for name, tensor in read_weights(files.folder)}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    lost = [name for name in missing if own_name(name) and "position_ids" not in name]
    if lost or unexpected:
        raise XittError(
            f"{files.folder}: its weights don't fit its configuration; "
            f"missing: {lost[:3]}, too many: {unexpected[:3]}"
        )


def _plain_model(files: EncoderFiles, head: foreign.Head | None) -> Any:
    """transformers' class for a head over the encoder's weights; its head's own values are whatever
    they are, but the decoder of masked words, which is the encoder's."""
    import transformers

    if head is None:
        model = transformers.XLMRobertaModel(_library_config(files), add_pooling_layer=False)
        _load_encoder(model, files)
        return model
    labels = head.labels or ()
    model = getattr(transformers, peft.model_class(head.kind))(_library_config(files, labels))
    _load_encoder(model.roberta, files)
    if head.kind == "mlm":
        stored_head = read_lm_head(files)
        bias = stored_head.get("bias")
        if bias is not None:
            model.lm_head.decoder.bias.data.copy_(bias)  # zeros where the checkpoint has none
        if "decoder.weight" in stored_head:
            model.lm_head.decoder.weight = nn.Parameter(stored_head["decoder.weight"])
    return model


def _tokenizer(files: EncoderFiles) -> Any:
    tokenizer = load_tokenizer(files)
    tokenizer.model_max_length = files.positions
    return tokenizer
