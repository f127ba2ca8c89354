"""What a folder of `adapters` is made of: its files, and the library's words for what we have."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from adapters_xitt.modules.formats.foreign import shorten

HEAD_CONFIG = "head_config.json"
WEIGHTS, FUSION_WEIGHTS, HEAD_WEIGHTS = (
    "adapter.safetensors",
    "model_adapter_fusion.safetensors",
    "model_head.safetensors",
)
MODEL_CLASS = "XLMRobertaAdapterModel"
# a name of an adapter that makes a folder, and a key of torch's ModuleDict
NAME = re.compile(r"[A-Za-z0-9_-]+")
VERSION = re.compile(r"adapters\.\d{1,3}\.\d{1,3}[.\w]{0,20}")
MARK = re.compile(
    r"(?:^|\.)(?:adapters|loras|invertible_adapters|shared_parameters|adapter_fusion_layer)\."
)

# Head type → kind, layers, activation, and the places in the library's sequence → our modules.
HEADS: dict[str, tuple[str, int, str | None, dict[str, str]]] = {
    "classification": ("pair", 2, "tanh", {"1": "pooler", "4": "out"}),
    "multiple_choice": ("choice", 2, "tanh", {"1": "pooler", "4": "out"}),
    "tagging": ("tagging", 1, None, {"1": "out"}),
    "question_answering": ("qa", 1, None, {"1": "out"}),
    "masked_lm": ("mlm", 2, "gelu", {"0": "dense", "2": "layer_norm", "3": "decoder"}),
}
HEAD_FREE = (
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
FREE = (
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
REQUIRED = ("mh_adapter", "output_adapter", "reduction_factor", "non_linearity")
PHM = (
    "phm_dim",
    "factorized_phm_W",
    "shared_W_phm",
    "shared_phm_rule",
    "factorized_phm_rule",
    "phm_rank",
    "phm_bias",
)
FUSION_FREE = ("regularization", "dropout_prob", "value_initialized")
MATRICES = {"query": "q", "key": "k", "value": "v"}
FEED = {"up": "intermediate_lora", "down": "output_lora"}


def differences(
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
