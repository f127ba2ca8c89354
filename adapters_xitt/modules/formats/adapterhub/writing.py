"""Modules, fusions and heads written as `adapters` reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapters_xitt.errors import XittError
from adapters_xitt.modules.formats.adapterhub.layout import (
    FEED,
    FUSION_WEIGHTS,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    HEADS,
    MARK,
    MATRICES,
    MODEL_CLASS,
    WEIGHTS,
)
from adapters_xitt.modules.formats.foreign import (
    CONFIG,
    FUSION_CONFIG,
    MODEL_TYPE,
    Head,
    Tensors,
)
from adapters_xitt.modules.methods import Choice
from adapters_xitt.tensor_files import write_tensors


def write(
    folder: Path,
    *,
    name: str,
    choice: Choice,
    tensors: Tensors,
    encoder_name: str,
    head: Head | None,
    over: Sequence[str] = (),
) -> None:
    """Writes a module's files into `folder`; of a fusion, `over` are the names of the modules it is
    over. A `XittError` where the library has no form that computes the same."""
    from adapters import DynamicAdapterFusionConfig

    common = {
        "model_class": MODEL_CLASS,
        "model_name": encoder_name,
        "model_type": MODEL_TYPE,
        "hidden_size": _width(tensors),
        "name": name,
        "version": f"adapters.{version('adapters')}",
    }
    if choice.spec.fuses_bottlenecks:
        files = (FUSION_CONFIG, FUSION_WEIGHTS)
        config: dict[str, Any] = {
            "config": DynamicAdapterFusionConfig().to_dict(),
            "adapter_names": list(over),
        }
    else:
        files = (CONFIG, WEIGHTS)
        config = {"config": _config(choice)}
    theirs = {f"roberta.{_theirs(key, name)}": tensor for key, tensor in tensors.items()}
    _save(folder, files, common | config, theirs)
    if head:
        kind = HEADS[_head_type(head.kind)][0]
        positions = {ours: theirs for theirs, ours in HEADS[_head_type(head.kind)][3].items()}
        theirs = {}
        for key, tensor in head.tensors.items():
            module, _, end = key.rpartition(".")
            theirs[f"heads.{name}.{positions[module]}.{end}"] = tensor
        config = {"config": _head_config(kind, head)}
        _save(folder, (HEAD_CONFIG, HEAD_WEIGHTS), common | config, theirs)


def _save(
    folder: Path, files: tuple[str, str], config: Mapping[str, Any], tensors: Tensors
) -> None:
    """Writes the file of the configuration and that of the tensors."""
    # Keys unsorted: the library lists labels in the order they stand here, not in that of the
    # outputs.
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / files[0]).write_text(text, encoding="utf-8")
    write_tensors(folder / files[1], tensors)


def _width(tensors: Tensors) -> int:
    """The width of the encoder that a module stands in."""
    for name, tensor in tensors.items():
        if name.endswith(("adapter_up.bias", "adapter_up.b", "query.bias")) or (
            "attention.self" in name and "lora_B" in name
        ):
            return tensor.shape[0]
    for name, tensor in tensors.items():
        if name.endswith("intermediate.dense.lora_A.weight"):
            return tensor.shape[1]
        if name.endswith("output.dense.lora_B.weight"):
            return tensor.shape[0]
    raise ValueError(f"no tensor says the width: {', '.join(list(tensors)[:4])}")


def _theirs(name: str, module: str) -> str:
    """Our name of a tensor as the library's, with the module's own name in it."""
    if ".lora_" in name and ".loras." not in name:
        name = re.sub(r"\.(lora_[AB])\.weight$", r".loras.\1", name)
    mark = MARK.search(name)
    if mark is None:
        raise ValueError(f"{name} is no tensor of a module of the library")
    return f"{name[: mark.end()]}{module}.{name[mark.end() :]}"


def _config(choice: Choice) -> dict[str, Any]:
    """The library's configuration of a method, as JSON."""
    import adapters

    if choice.spec.is_bottleneck:
        fields = choice.spec.configuration(dict(choice.options))
        return getattr(adapters, choice.spec.config)(**fields).to_dict()
    if choice.spec.not_in_adapters:
        raise XittError(
            f"method {choice.label}: {choice.spec.not_in_adapters}; export it in the form of peft"
        )
    if "attention" in choice["places"]:
        raise XittError(
            f"method {choice.label}: `adapters` has no low-rank update of the attention's"
            " output; export it in the form of peft"
        )
    matrices = [matrix for target, matrix in MATRICES.items() if target in choice["places"]]
    feed_forward = {field: target in choice["places"] for target, field in FEED.items()}
    return adapters.LoRAConfig(
        r=choice["rank"],
        alpha=choice["alpha"],
        dropout=choice["dropout"],
        attn_matrices=matrices,
        selfattn_lora=bool(matrices),
        leave_out=list(choice["leave_out"]),
        **feed_forward,
    ).to_dict()


def writes_head(kind: str) -> bool:
    """Whether the library has a form of a head of this kind that can be written: that of masked
    words would carry the whole vocabulary."""
    return kind != "mlm" and any(head[0] == kind for head in HEADS.values())


def _head_type(kind: str) -> str:
    for name, head in HEADS.items():
        if head[0] == kind:
            return name
    raise XittError(
        f"a head of kind {kind}: `adapters` has no form of it; export it in our form (xitt), or"
        " without its head"
    )


def _head_config(kind: str, head: Head) -> dict[str, Any]:
    if kind == "mlm":
        raise XittError(
            "a masked-language-model head of `adapters` carries the whole vocabulary as its"
            " decoder; ours stands on the encoder's own and has none to give. Export it in the form"
            " of peft, or without its head"
        )
    _, layers, activation, _ = HEADS[_head_type(kind)]
    labels = head.labels or [f"LABEL_{index}" for index in range(head.outputs)]
    config = {
        "head_type": _head_type(kind),
        "layers": layers,
        "activation_function": activation or "tanh",
        "dropout_prob": 0.1,
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    if kind == "pair":
        return config | {"num_labels": head.outputs, "use_pooler": False, "bias": True}
    # how many are asked at once is no property of the head; 2 is the library's default
    if kind == "choice":
        return config | {
            "num_choices": 2,
            "use_pooler": False,
            "label2id": {"LABEL_0": 0, "LABEL_1": 1},
        }
    return config | {"num_labels": head.outputs}
