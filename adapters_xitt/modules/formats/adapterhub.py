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
    Foreign,
    Head,
    Tensors,
    head_of,
    labels_of,
    said,
)
from adapters_xitt.modules.methods import METHODS, Choice
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
    if choice.row.engine == "fusion":
        own, weights = FUSION_CONFIG, FUSION_WEIGHTS
        config: dict[str, Any] = {
            "config": DynamicAdapterFusionConfig().to_dict(),
            "adapter_names": list(over),
        }
    else:
        own, weights = CONFIG, WEIGHTS
        config = {"config": _config(choice)}
    _save(
        folder,
        own,
        common | config,
        weights,
        {f"roberta.{_theirs(key, name)}": one for key, one in tensors.items()},
    )
    if head:
        kind, names = _HEADS[_head_type(head.kind)][0], _HEADS[_head_type(head.kind)][3]
        places = {ours: at for at, ours in names.items()}
        theirs = {
            f"heads.{name}.{places[module]}.{end}": one
            for key, one in head.tensors.items()
            for module, _, end in (key.rpartition("."),)
        }
        _save(
            folder, HEAD_CONFIG, common | {"config": _head_config(kind, head)}, HEAD_WEIGHTS, theirs
        )


def _save(
    folder: Path, name: str, config: Mapping[str, Any], weights: str, tensors: Tensors
) -> None:
    # Keys unsorted: the library lists labels in the order they stand here, not in that of the
    # outputs.
    (folder / name).write_text(
        json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    write_tensors(folder / weights, tensors)


def _width(tensors: Tensors) -> int:
    """The width of the encoder that a module stands in."""
    for name, one in tensors.items():
        if name.endswith(("adapter_up.bias", "adapter_up.b", "query.bias")) or (
            "attention.self" in name and "lora_B" in name
        ):
            return one.shape[0]
    return next(
        one.shape[name.endswith("lora_A.weight")]
        for name, one in tensors.items()
        if name.endswith("intermediate.dense.lora_A.weight")
        or name.endswith("output.dense.lora_B.weight")
    )


def _theirs(name: str, own: str) -> str:
    """Our name of a tensor as the library's, with the module's own name in it."""
    if ".lora_" in name and ".loras." not in name:
        name = re.sub(r"\.(lora_[AB])\.weight$", r".loras.\1", name)
    mark = _MARK.search(name)
    return f"{name[: mark.end()]}{own}.{name[mark.end() :]}"


def _config(choice: Choice) -> dict[str, Any]:
    """The library's configuration of a method, as JSON."""
    import adapters

    if choice.row.engine == "adapters":
        fields = {
            field: choice[option] for option, field in choice.row.fields.items()
        } | choice.row.constants
    elif choice.name == "lora":
        if "attention" in choice["places"]:
            raise XittError(
                f"method {choice.label}: `adapters` has no low-rank update of the attention's"
                " output; export it in the form of peft"
            )
        inner = [matrix for place, matrix in _MATRICES.items() if place in choice["places"]]
        fields = {
            "r": choice["rank"],
            "alpha": choice["alpha"],
            "dropout": choice["dropout"],
            "attn_matrices": inner,
            "selfattn_lora": bool(inner),
            "leave_out": choice["leave_out"],
            **{field: place in choice["places"] for place, field in _FEED.items()},
        }
    else:
        why = {
            "rslora": "`adapters` scales by alpha over the rank only",
            "dora": (
                "`adapters` computes DoRA otherwise: it scales the bias and takes the norm without"
                " alpha"
            ),
        }
        raise XittError(
            f"method {choice.label}: {why.get(choice.name, 'it has no form there')}; export it in"
            " the form of peft"
        )
    plain = {
        key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()
    }
    return getattr(adapters, choice.row.config if choice.name != "lora" else "LoRAConfig")(
        **plain
    ).to_dict()


def _head_type(kind: str) -> str:
    return next(name for name, row in _HEADS.items() if row[0] == kind)


def _head_config(kind: str, head: Head) -> dict[str, Any]:
    if kind == "mlm":
        raise XittError(
            "a masked-language-model head of `adapters` carries the whole vocabulary as its"
            " decoder; ours stands on the encoder's own and has none to give. Export it in the form"
            " of peft, or without its head"
        )
    _, layers, activation, _ = _HEADS[_head_type(kind)]
    labels = head.labels or [f"LABEL_{at}" for at in range(head.outputs)]
    found = {
        "head_type": _head_type(kind),
        "layers": layers,
        "activation_function": activation or "tanh",
        "dropout_prob": 0.1,
        "label2id": {label: at for at, label in enumerate(labels)},
    }
    if kind == "pair":
        return found | {"num_labels": head.outputs, "use_pooler": False, "bias": True}
    # how many are asked at once is no property of the head; 2 is the library's default
    if kind == "choice":
        return found | {
            "num_choices": 2,
            "use_pooler": False,
            "label2id": {"LABEL_0": 0, "LABEL_1": 1},
        }
    return found | {"num_labels": head.outputs}


# -- reading ---------------------------------------------------------------------------------------


def read(folder: Path, *, with_head: bool = True) -> Foreign:
    """The module or fusion in `folder`, with its head where it has one; a `XittError` for every key
    that changes what is computed and has no counterpart here."""
    found = safe_files.listed(
        folder, (CONFIG, FUSION_CONFIG, HEAD_CONFIG, WEIGHTS, FUSION_WEIGHTS, HEAD_WEIGHTS)
    )
    fused = FUSION_CONFIG in found
    path = found[FUSION_CONFIG] if fused else found.get(CONFIG, folder / CONFIG)
    config = safe_files.read_json(path)
    name, written = _checked(config, path)
    weights = FUSION_WEIGHTS if fused else WEIGHTS
    if weights not in found:
        raise XittError(f"{folder / weights}: missing; save it with use_safetensors=True")
    tensors = _ours(safe_files.read_tensors(found[weights]), name, found[weights], leaks=fused)
    choice = (
        _fused(config["config"], path, tensors)
        if fused
        else _method(config["config"], path, written)
    )
    if choice.row.engine == "peft":  # one form for low-rank updates, peft's
        tensors = {
            re.sub(r"\.loras\.(lora_[AB])$", r".\1.weight", key): one
            for key, one in tensors.items()
        }
    return Foreign(
        form="adapters",
        folder=folder,
        name=name,
        made_for=str(config.get("model_name") or "")[:200],
        choice=choice,
        tensors=tensors,
        head=_head(folder, found) if with_head else None,
        only=_layers(tensors) if fused else (),
        width=config.get("hidden_size"),
        over=_over(config, path) if fused else (),
        version=written,
    )


def _checked(config: Mapping[str, Any], path: Path) -> tuple[str, str]:
    """The module's name and the version of the library that wrote it."""
    kind, written, name = (config.get(key) for key in ("model_type", "version", "name"))
    if kind != MODEL_TYPE:
        raise XittError(
            f"{path}: model_type is {kind!r}; only modules of {MODEL_TYPE} encoders run here"
        )
    if not isinstance(written, str) or not _VERSION.fullmatch(written):
        raise XittError(
            f"{path}: written by {said(written or 'an old adapter-transformers')}, before"
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


def _ours(theirs: Tensors, own: str, path: Path, *, leaks: bool) -> Tensors:
    """Tensors by our names. With `leaks`, those of a name that begins like `own` are left out: the
    library saves them along."""
    found: Tensors = {}
    for name, one in theirs.items():
        short = name.removeprefix("roberta.")
        mark = _MARK.search(short)
        owner, dot, rest = short[mark.end() :].partition(".") if mark else ("", "", "")
        if leaks and owner != own and owner.startswith(own):
            continue
        if not dot or owner != own:
            raise XittError(f"{path}: tensor {name[:200]!r} is none of module {own!r}")
        found[short[: mark.end()] + rest] = one.float() if one.is_floating_point() else one
    return found


def _over(config: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    """The names of the modules that a fusion is over."""
    names = config.get("adapter_names", config["name"])
    names = names.split(",") if isinstance(names, str) else names
    if not isinstance(names, list) or not all(
        isinstance(one, str) and NAME.fullmatch(one) for one in names
    ):
        raise XittError(f"{path}: adapter_names must be names made of letters, digits, '_' and '-'")
    return tuple(names)


def _layers(tensors: Tensors) -> tuple[int, ...]:
    """The layers that a fusion's tensors are in: those of its parts."""
    return tuple(
        sorted(
            {
                int(at[1])
                for name in tensors
                if (at := re.match(r"encoder\.layer\.(\d{1,4})\.", name))
            }
        )
    )


def _fused(config: Mapping[str, Any], path: Path, tensors: Tensors) -> Choice:
    from adapters import DynamicAdapterFusionConfig

    problems = Problems(str(path))
    for problem in _differ(
        config, DynamicAdapterFusionConfig().to_dict(), _FUSION_FREE, "a fusion"
    ):
        problems.add(problem)
    problems.raise_if_any()
    blocks = 2 if any(".attention.output." in name for name in tensors) else 1
    return methods.recorded({"name": "fusion", "blocks": blocks})


def _method(config: Mapping[str, Any], path: Path, written: str) -> Choice:
    """The method whose configuration this is: the one that the fewest keys speak against, which
    must be none."""
    import adapters

    config = {key: value for key, value in config.items() if value is not None}
    problems, kind = Problems(str(path)), config.get("architecture")
    if kind not in (None, "lora"):
        raise XittError(
            f"{path}: architecture {kind!r} has no method here; there are {', '.join(METHODS)}"
        )
    if kind == "lora" and config.get("composition_mode", "add") == "add":
        choice, found = _lora(config, written)
    else:
        tried = []
        for row in METHODS.values():
            if row.engine == "adapters" and (kind == "lora") == (row.name == "ia3"):
                whole = getattr(adapters, row.config)(**row.constants).to_dict()
                base = (
                    adapters.LoRAConfig()
                    if kind == "lora"
                    else adapters.BnConfig(**{key: whole[key] for key in _REQUIRED})
                )
                free = [
                    *_FREE,
                    *row.fields.values(),
                    *(_PHM if not config.get("phm_layer") else ()),
                    *(("inv_adapter_reduction_factor",) if not config.get("inv_adapter") else ()),
                    *(("residual_before_ln",) if not config.get("original_ln_before") else ()),
                ]
                told = _differ(base.to_dict() | config, whole, free, row.name)
                tried.append((len(told), told, row))
        missing = [] if kind else [key for key in _REQUIRED if key not in config]
        _, found, row = min(tried, key=lambda one: one[0])
        options = {
            option: _whole(config[field]) for option, field in row.fields.items() if field in config
        }
        choice, found = (row.name, options), [*(f"{key} is missing" for key in missing), *found]
    for problem in found:
        problems.add(problem)
    problems.raise_if_any()
    name, options = choice
    if isinstance(left := options.get("leave_out"), list) and all(
        type(layer) is int for layer in left
    ):
        options["leave_out"] = sorted(set(left))
    try:
        return methods.choose(name, options)
    except XittError as error:
        raise XittError(f"{path}: {error}") from None


def _lora(config: Mapping[str, Any], written: str) -> tuple[tuple[str, dict[str, Any]], list[str]]:
    from adapters import LoRAConfig

    base = LoRAConfig().to_dict()
    config = base | config
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
    found = _differ(config, base, free, "lora")
    alpha = config["alpha"]
    if tuple(map(int, re.findall(r"\d+", written)[:2])) < (1, 1):
        # what the library makes of files from before it scaled by alpha (its issue 770)
        alpha = config["r"]
    matrices = config["attn_matrices"] if config["selfattn_lora"] else []
    if not isinstance(matrices, list) or any(
        matrix not in _MATRICES.values() for matrix in matrices
    ):
        found.append(
            f"attn_matrices is {said(matrices)}; places here are {', '.join(_MATRICES.values())}"
        )
        matrices = []
    places = [place for place, matrix in _MATRICES.items() if matrix in matrices]
    places += [place for place, field in _FEED.items() if config[field]]
    return (
        "lora",
        {
            "rank": _whole(config["r"]),
            "alpha": _whole(alpha),
            "dropout": config["dropout"],
            "places": places,
            "leave_out": config["leave_out"],
        },
    ), found


def _whole(value: Any) -> Any:
    """16.0 as 16."""
    return int(value) if isinstance(value, float) and value.is_integer() and value else value


def _differ(
    config: Mapping[str, Any], wanted: Mapping[str, Any], free: Sequence[str], what: str
) -> list[str]:
    """The keys, not among `free`, that say something else than `wanted` or are unknown there."""
    found = []
    for key, value in config.items():
        if key in free:
            continue
        if key not in wanted:
            found.append(
                f"key {key[:80]!r} ({said(value)}) is not known, so what it changes is not"
            )
        elif _plain(value) != _plain(wanted[key]):
            found.append(f"{key} is {str(value)[:40]!r}, {what} has {wanted[key]!r}")
    return found


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, (list, tuple)) else value


def _head(folder: Path, found: Mapping[str, Path]) -> Head | None:
    """The head beside a module."""
    if HEAD_CONFIG not in found and HEAD_WEIGHTS not in found:
        return None
    for name in (HEAD_CONFIG, HEAD_WEIGHTS):
        if name not in found:
            raise XittError(f"{folder / name}: missing; the other file of the head is there")
    path = found[HEAD_CONFIG]
    whole = safe_files.read_json(path)
    config, model, tensors = (
        whole.get("config"),
        str(whole.get("model_class")),
        safe_files.read_tensors(found[HEAD_WEIGHTS]),
    )
    tensors = {
        name: one.float() if one.is_floating_point() else one for name, one in tensors.items()
    }
    if config is None and model in STATIC:
        kind, names = STATIC[model]
        return head_of(
            kind, tensors, names, where=path, labels=labels_of(whole.get("label2id"), path)
        )
    if not isinstance(config, dict) or str(config.get("head_type")) not in _HEADS:
        kind = config.get("head_type") if isinstance(config, dict) else model
        raise XittError(
            f"{path}: a head of type {str(kind)[:80]!r} has no counterpart here; there are "
            f"{', '.join(_HEADS)}. --without-head takes in the rest"
        )
    kind, names = _checked_head(config, path)
    own = f"heads.{whole.get('name')}."
    leaked = own[:-1]  # the library saves every head whose name begins like this one's
    theirs = {
        name.removeprefix(own): one
        for name, one in tensors.items()
        if name.startswith(own) or not name.startswith(leaked)
    }
    return head_of(kind, theirs, names, where=path, labels=labels_of(config.get("label2id"), path))


def _checked_head(config: Mapping[str, Any], path: Path) -> tuple[str, dict[str, str]]:
    kind, layers, activation, names = _HEADS[config["head_type"]]
    wanted: dict[str, Any] = {
        "use_pooler": False,
        "bias": True,
        "layer_norm": True,
        "shift_labels": False,
    }
    problems = Problems(str(path))
    for problem in _differ(config, wanted, _HEAD_FREE, "a head here"):
        problems.add(problem + "; --without-head takes in the rest")
    if config.get("layers") != layers:
        problems.add(
            f"layers is {said(config.get('layers'))}, a {config['head_type']} head here has"
            f" {layers}; --without-head takes in the rest"
        )
    if activation and config.get("activation_function") != activation:
        problems.add(
            f"activation_function is {str(config.get('activation_function'))[:40]!r}, a head here"
            f" has {activation!r}; --without-head takes in the rest"
        )
    problems.raise_if_any()
    return kind, names
