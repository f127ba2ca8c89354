"""AdapterHub's form, as `adapters` 1.x writes and reads it with `use_safetensors=True`.

A module is adapter_config.json and adapter.safetensors; its head head_config.json and
model_head.safetensors; a fusion adapter_fusion_config.json and model_adapter_fusion.safetensors,
the modules it is over in folders of their own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from adapters_xitt import safe_files
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.modules import methods
from adapters_xitt.modules.formats.foreign import (
    CONFIG,
    FUSION_CONFIG,
    MODEL_TYPE,
    STATIC,
    ForeignModule,
    Head,
    Tensors,
    head_of,
    read_labels,
    shorten,
)
from adapters_xitt.modules.methods import METHODS, SITES, Choice, Method
from adapters_xitt.tensor_files import write_tensors

HEAD_CONFIG = "head_config.json"
WEIGHTS, FUSION_WEIGHTS, HEAD_WEIGHTS = (
    "adapter.safetensors",
    "model_adapter_fusion.safetensors",
    "model_head.safetensors",
)
MODEL_CLASS = "XLMRobertaAdapterModel"
# a name of an adapter that makes a folder, and a key of torch's ModuleDict
NAME = re.compile(r"[A-Za-z0-9_-]+")
_VERSION = re.compile(r"adapters\.\d{1,3}\.\d{1,3}[.\w]{0,20}")
_MARK = re.compile(
    r"(?:^|\.)(?:adapters|loras|invertible_adapters|shared_parameters|adapter_fusion_layer)\."
)

# Head type → kind, layers, activation, and the places in the library's sequence → our modules.
_HEADS: dict[str, tuple[str, int, str | None, dict[str, str]]] = {
    "classification": ("pair", 2, "tanh", {"1": "pooler", "4": "out"}),
    "multiple_choice": ("choice", 2, "tanh", {"1": "pooler", "4": "out"}),
    "tagging": ("tagging", 1, None, {"1": "out"}),
    "question_answering": ("qa", 1, None, {"1": "out"}),
    "masked_lm": ("mlm", 2, "gelu", {"0": "dense", "2": "layer_norm", "3": "decoder"}),
}
_HEAD_FREE = (
    "head_type",
    "num_labels",
    "num_choices",
    "label2id",
    "id2label",
    "dropout_prob",
    "vocab_size",
    "embedding_size",
    "layers",
    "activation_function",
)
# Keys that decide how a module begins or is trained, not what it computes.
_FREE = (
    "architecture",
    "init_weights",
    "init_weights_seed",
    "phm_c_init",
    "phm_init_range",
    "learn_phm",
    "hypercomplex_nonlinearity",
    "stochastic_depth",
    "dtype",
    "cross_adapter",
)
# of a bottleneck; no defaults
_REQUIRED = ("mh_adapter", "output_adapter", "reduction_factor", "non_linearity")
_PHM = (
    "phm_dim",
    "factorized_phm_W",
    "shared_W_phm",
    "shared_phm_rule",
    "factorized_phm_rule",
    "phm_rank",
    "phm_bias",
)
_FUSION_FREE = ("regularization", "dropout_prob", "value_initialized")
_MATRICES = {"query": "q", "key": "k", "value": "v"}
_FEED = {"up": "intermediate_lora", "down": "output_lora"}


# -- writing ---------------------------------------------------------------------------------------


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
    if choice.spec.engine == "fusion":
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
        kind = _HEADS[_head_type(head.kind)][0]
        positions = {ours: theirs for theirs, ours in _HEADS[_head_type(head.kind)][3].items()}
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
    mark = _MARK.search(name)
    if mark is None:
        raise ValueError(f"{name} is no tensor of a module of the library")
    return f"{name[: mark.end()]}{module}.{name[mark.end() :]}"


def _config(choice: Choice) -> dict[str, Any]:
    """The library's configuration of a method, as JSON."""
    import adapters

    if choice.spec.engine == "adapters":
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
    matrices = [matrix for target, matrix in _MATRICES.items() if target in choice["places"]]
    feed_forward = {field: target in choice["places"] for target, field in _FEED.items()}
    return adapters.LoRAConfig(
        r=choice["rank"],
        alpha=choice["alpha"],
        dropout=choice["dropout"],
        attn_matrices=matrices,
        selfattn_lora=bool(matrices),
        leave_out=list(choice["leave_out"]),
        **feed_forward,
    ).to_dict()


def _head_type(kind: str) -> str:
    return next(name for name, head in _HEADS.items() if head[0] == kind)


def _head_config(kind: str, head: Head) -> dict[str, Any]:
    if kind == "mlm":
        raise XittError(
            "a masked-language-model head of `adapters` carries the whole vocabulary as its"
            " decoder; ours stands on the encoder's own and has none to give. Export it in the form"
            " of peft, or without its head"
        )
    _, layers, activation, _ = _HEADS[_head_type(kind)]
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


# -- reading ---------------------------------------------------------------------------------------


def read(folder: Path, *, with_head: bool = True) -> ForeignModule:
    """The module or fusion in `folder`, with its head where it has one; a `XittError` for every key
    that changes what is computed and has no counterpart here."""
    files = safe_files.listed(
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
    if choice.spec.engine == "peft":  # one form for low-rank updates, peft's
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
        head=_head(folder, files) if with_head else None,
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
    if not isinstance(written, str) or not _VERSION.fullmatch(written):
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
        mark = _MARK.search(short)
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
    problems = Problems(str(path), _differences(config, wanted, _FUSION_FREE, "a fusion"))
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
        if method.engine != "adapters":
            continue
        whole = getattr(adapters, method.config)(**method.configuration(method.options)).to_dict()
        if whole.get("architecture") != kind:
            continue
        defaults = (
            adapters.LoRAConfig()
            if kind == "lora"
            else adapters.BnConfig(**{key: whole[key] for key in _REQUIRED})
        )
        free = [
            *_FREE,
            *method.fields.values(),
            *(_PHM if not config.get("phm_layer") else ()),
            *(("inv_adapter_reduction_factor",) if not config.get("inv_adapter") else ()),
            *(("residual_before_ln",) if not config.get("original_ln_before") else ()),
        ]
        wrong = _differences(defaults.to_dict() | dict(config), whole, free, method.name)
        if nearest is None or len(wrong) < len(nearest[1]):
            nearest = (method, wrong)
    assert nearest is not None  # there are methods of both architectures
    method, wrong = nearest
    missing = [] if kind else [f"{key} is missing" for key in _REQUIRED if key not in config]
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
        *_FREE,
        "r",
        "alpha",
        "dropout",
        "attn_matrices",
        "selfattn_lora",
        "leave_out",
        *_FEED.values(),
    )
    wrong = _differences(config, base, free, "lora")
    alpha = config["alpha"]
    if tuple(map(int, re.findall(r"\d+", written)[:2])) < (1, 1):
        # what the library makes of files from before it scaled by alpha (its issue 770)
        alpha = config["r"]
    matrices = config["attn_matrices"] if config["selfattn_lora"] else []
    if not isinstance(matrices, list) or any(
        matrix not in _MATRICES.values() for matrix in matrices
    ):
        wrong.append(
            f"attn_matrices is {shorten(matrices)}; places here are {', '.join(_MATRICES.values())}"
        )
        matrices = []
    targets = [target for target, matrix in _MATRICES.items() if matrix in matrices]
    targets += [target for target, field in _FEED.items() if config[field]]
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


def _differences(
    config: Mapping[str, Any], wanted: Mapping[str, Any], free: Sequence[str], what: str
) -> list[str]:
    """The keys, not among `free`, that say something else than `wanted` or are unknown there."""
    differences = []
    for key, value in config.items():
        if key in free:
            continue
        if key not in wanted:
            differences.append(
                f"key {key[:80]!r} ({shorten(value)}) is not known, so what it changes is not"
            )
        elif _plain(value) != _plain(wanted[key]):
            differences.append(f"{key} is {str(value)[:40]!r}, {what} has {wanted[key]!r}")
    return differences


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, (list, tuple)) else value


def _head(folder: Path, files: Mapping[str, Path]) -> Head | None:
    """The head beside a module."""
    if HEAD_CONFIG not in files and HEAD_WEIGHTS not in files:
        return None
    for name in (HEAD_CONFIG, HEAD_WEIGHTS):
        if name not in files:
            raise XittError(f"{folder / name}: missing; the other file of the head is there")
    path = files[HEAD_CONFIG]
    whole = safe_files.read_json(path)
    config, model = whole.get("config"), str(whole.get("model_class"))
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in safe_files.read_tensors(files[HEAD_WEIGHTS]).items()
    }
    if config is None and model in STATIC:
        kind, names = STATIC[model]
        labels = read_labels(whole.get("label2id"), path)
        return head_of(kind, tensors, names, path=path, labels=labels)
    if not isinstance(config, dict) or str(config.get("head_type")) not in _HEADS:
        head_type = config.get("head_type") if isinstance(config, dict) else model
        raise XittError(
            f"{path}: a head of type {str(head_type)[:80]!r} has no counterpart here; there are "
            f"{', '.join(_HEADS)}. --without-head takes in the rest"
        )
    kind, names = _check_head(config, path)
    prefix = f"heads.{whole.get('name')}."
    leaked = prefix[:-1]  # the library saves every head whose name begins like this one's
    theirs = {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix) or not name.startswith(leaked)
    }
    labels = read_labels(config.get("label2id"), path)
    return head_of(kind, theirs, names, path=path, labels=labels)


def _check_head(config: Mapping[str, Any], path: Path) -> tuple[str, dict[str, str]]:
    kind, layers, activation, names = _HEADS[config["head_type"]]
    wanted: dict[str, Any] = {
        "use_pooler": False,
        "bias": True,
        "layer_norm": True,
        "shift_labels": False,
    }
    problems = Problems(str(path))
    for problem in _differences(config, wanted, _HEAD_FREE, "a head here"):
        problems.add(problem + "; --without-head takes in the rest")
    if config.get("layers") != layers:
        problems.add(
            f"layers is {shorten(config.get('layers'))}, a {config['head_type']} head here has"
            f" {layers}; --without-head takes in the rest"
        )
    if activation and config.get("activation_function") != activation:
        problems.add(
            f"activation_function is {str(config.get('activation_function'))[:40]!r}, a head here"
            f" has {activation!r}; --without-head takes in the rest"
        )
    problems.raise_if_any()
    return kind, names
