"""Modules and fusions that `adapters` wrote, in our words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters_xitt import safe_files
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.modules import methods
from adapters_xitt.modules.formats.adapterhub.heads import read_head
from adapters_xitt.modules.formats.adapterhub.layout import (
    FEED,
    FREE,
    FUSION_FREE,
    FUSION_WEIGHTS,
    HEAD_CONFIG,
    HEAD_WEIGHTS,
    MARK,
    MATRICES,
    NAME,
    PHM,
    REQUIRED,
    VERSION,
    WEIGHTS,
    differences,
)
from adapters_xitt.modules.formats.foreign import (
    CONFIG,
    FUSION_CONFIG,
    MODEL_TYPE,
    ForeignModule,
    Tensors,
    shorten,
)
from adapters_xitt.modules.methods import METHODS, SITES, Choice, Method


def read(folder: Path, *, with_head: bool = True) -> ForeignModule:
    """The module or fusion in `folder`, with its head where it has one; a `XittError` for every key
    that changes what is computed and has no counterpart here."""
    files = safe_files.list_files(
        folder, (CONFIG, FUSION_CONFIG, HEAD_CONFIG, WEIGHTS, FUSION_WEIGHTS, HEAD_WEIGHTS)
    )
    is_fusion = FUSION_CONFIG in files
    path = files[FUSION_CONFIG] if is_fusion else files.get(CONFIG, folder / CONFIG)
    config = safe_files.read_json(path)
    name, written = _check(config, path)
    weights = FUSION_WEIGHTS if is_fusion else WEIGHTS
    if weights not in files:
        raise XittError(f"{folder / weights}: missing; save it with use_safetensors=True")
    theirs = safe_files.read_tensors(files[weights])
    tensors = _ours(theirs, name, files[weights], leaks=is_fusion)
    choice = (
        _fusion(config["config"], path, tensors)
        if is_fusion
        else _method(config["config"], path, written)
    )
    if choice.spec.is_update:  # one form for low-rank updates, peft's
        tensors = {
            re.sub(r"\.loras\.(lora_[AB])$", r".\1.weight", key): tensor
            for key, tensor in tensors.items()
        }
    return ForeignModule(
        form="adapters",
        folder=folder,
        name=name,
        made_for=str(config.get("model_name") or "")[:200],
        choice=choice,
        tensors=tensors,
        head=read_head(folder, files) if with_head else None,
        only=_layers(tensors) if is_fusion else (),
        width=config.get("hidden_size"),
        over=_over(config, path) if is_fusion else (),
        version=written,
    )


def _check(config: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """The module's name and the version of the library that wrote it."""
    kind, written, name = (config.get(key) for key in ("model_type", "version", "name"))
    if kind != MODEL_TYPE:
        raise XittError(
            f"{path}: model_type is {kind!r}; only modules of {MODEL_TYPE} encoders run here"
        )
    if not isinstance(written, str) or not VERSION.fullmatch(written):
        raise XittError(
            f"{path}: written by {shorten(written or 'an old adapter-transformers')}, before"
            " `adapters` 1.0; load it there and save it again with use_safetensors=True"
        )
    if not isinstance(config.get("config"), dict):
        raise XittError(f"{path}: config must be an object")
    if (
        not isinstance(name, str)
        or "." in name
        or not 0 < len(name) <= 300
        or not name.isprintable()
    ):
        raise XittError(f"{path}: name {str(name)[:80]!r} can be no name of a module")
    return name, written.removeprefix("adapters.")


def _ours(theirs: Tensors, module: str, path: Path, *, leaks: bool) -> Tensors:
    """Tensors by our names. With `leaks`, those of a name that begins like the module's are left
    out: the library saves them along."""
    tensors: Tensors = {}
    for name, tensor in theirs.items():
        short = name.removeprefix("roberta.")
        mark = MARK.search(short)
        end = mark.end() if mark else len(short)
        owner, dot, rest = short[end:].partition(".")
        if leaks and owner != module and owner.startswith(module):
            continue
        if not dot or owner != module:
            raise XittError(f"{path}: tensor {name[:200]!r} is none of module {module!r}")
        tensors[short[:end] + rest] = tensor.float() if tensor.is_floating_point() else tensor
    return tensors


def _over(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The names of the modules that a fusion is over."""
    names = config.get("adapter_names", config["name"])
    names = names.split(",") if isinstance(names, str) else names
    if not isinstance(names, list) or not all(
        isinstance(name, str) and NAME.fullmatch(name) for name in names
    ):
        raise XittError(f"{path}: adapter_names must be names made of letters, digits, '_' and '-'")
    return tuple(names)


def _layers(tensors: Tensors) -> tuple[int, ...]:
    """The layers that a fusion's tensors are in: those of its parts."""
    matches = [re.match(r"encoder\.layer\.(\d{1,4})\.", name) for name in tensors]
    return tuple(sorted({int(match[1]) for match in matches if match}))


def _fusion(config: Mapping[str, Any], path: Path, tensors: Tensors) -> Choice:
    from adapters import DynamicAdapterFusionConfig

    wanted = DynamicAdapterFusionConfig().to_dict()
    problems = Problems(str(path), differences(config, wanted, FUSION_FREE, "a fusion"))
    problems.raise_if_any()
    marks = [name.partition(".adapter_fusion_layer.")[0] for name in tensors]
    paths = {re.sub(r"^encoder\.layer\.\d+\.", "", mark) for mark in marks}
    # what is in no such place is refused with its tensors
    blocks = next((number for number, sites in SITES.items() if set(sites) == paths), 1)
    return methods.from_record({"name": "fusion", "blocks": blocks})


def _method(config: Mapping[str, Any], path: Path, written: str) -> Choice:
    """The method whose configuration this is: the one that the fewest keys speak against, which
    must be none."""
    config = {key: value for key, value in config.items() if value is not None}
    kind = config.get("architecture")
    if kind not in (None, "lora"):
        raise XittError(
            f"{path}: architecture {kind!r} has no method here; there are {', '.join(METHODS)}"
        )
    if kind == "lora" and config.get("composition_mode", "add") == "add":
        name, options, wrong = _lora(config, written)
    else:
        name, options, wrong = _nearest_method(config)
    Problems(str(path), wrong).raise_if_any()
    left_out = options.get("leave_out")
    if isinstance(left_out, list) and all(type(layer) is int for layer in left_out):
        options["leave_out"] = sorted(set(left_out))
    try:
        return methods.choose(name, options)
    except XittError as error:
        raise XittError(f"{path}: {error}") from None


def _nearest_method(config: Mapping[str, Any]) -> tuple[str, dict[str, Any], list[str]]:
    """The method of `adapters` that the fewest keys speak against, its options by our names, and
    those keys."""
    import adapters

    kind = config.get("architecture")
    nearest: tuple[Method, list[str]] | None = None
    for method in METHODS.values():
        if not method.is_bottleneck:
            continue
        whole = getattr(adapters, method.config)(**method.configuration(method.options)).to_dict()
        if whole.get("architecture") != kind:
            continue
        defaults = (
            adapters.LoRAConfig()
            if kind == "lora"
            else adapters.BnConfig(**{key: whole[key] for key in REQUIRED})
        )
        free = [
            *FREE,
            *method.fields.values(),
            *(PHM if not config.get("phm_layer") else ()),
            *(("inv_adapter_reduction_factor",) if not config.get("inv_adapter") else ()),
            *(("residual_before_ln",) if not config.get("original_ln_before") else ()),
        ]
        wrong = differences(defaults.to_dict() | dict(config), whole, free, method.name)
        if nearest is None or len(wrong) < len(nearest[1]):
            nearest = (method, wrong)
    assert nearest is not None  # there are methods of both architectures
    method, wrong = nearest
    missing = [] if kind else [f"{key} is missing" for key in REQUIRED if key not in config]
    options = {
        option: _whole(config[field]) for option, field in method.fields.items() if field in config
    }
    return method.name, options, [*missing, *wrong]


def _lora(config: Mapping[str, Any], written: str) -> tuple[str, dict[str, Any], list[str]]:
    """A LoRA of `adapters`: the method's name, its options, and the keys that speak against it."""
    from adapters import LoRAConfig

    base = LoRAConfig().to_dict()
    config = base | dict(config)
    free = (
        *FREE,
        "r",
        "alpha",
        "dropout",
        "attn_matrices",
        "selfattn_lora",
        "leave_out",
        *FEED.values(),
    )
    wrong = differences(config, base, free, "lora")
    alpha = config["alpha"]
    if tuple(map(int, re.findall(r"\d+", written)[:2])) < (1, 1):
        # what the library makes of files from before it scaled by alpha (its issue 770)
        alpha = config["r"]
    matrices = config["attn_matrices"] if config["selfattn_lora"] else []
    if not isinstance(matrices, list) or any(
        matrix not in MATRICES.values() for matrix in matrices
    ):
        wrong.append(
            f"attn_matrices is {shorten(matrices)}; places here are {', '.join(MATRICES.values())}"
        )
        matrices = []
    targets = [target for target, matrix in MATRICES.items() if matrix in matrices]
    targets += [target for target, field in FEED.items() if config[field]]
    options = {
        "rank": _whole(config["r"]),
        "alpha": _whole(alpha),
        "dropout": config["dropout"],
        "places": targets,
        "leave_out": config["leave_out"],
    }
    return "lora", options, wrong


def _whole(value: Any) -> Any:
    """16.0 as 16."""
    return int(value) if isinstance(value, float) and value.is_integer() and value else value
