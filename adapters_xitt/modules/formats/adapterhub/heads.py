"""Heads that `adapters` wrote, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters_xitt import safe_files
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.modules.formats.adapterhub.layout import (
    HEAD_CONFIG,
    HEAD_FREE,
    HEAD_WEIGHTS,
    HEADS,
    differences,
)
from adapters_xitt.modules.formats.foreign import (
    STATIC,
    Head,
    head_of,
    read_labels,
    shorten,
)


def read_head(folder: Path, files: Mapping[str, Path]) -> Head | None:
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
    if not isinstance(config, dict) or str(config.get("head_type")) not in HEADS:
        head_type = config.get("head_type") if isinstance(config, dict) else model
        raise XittError(
            f"{path}: a head of type {str(head_type)[:80]!r} has no counterpart here; there are "
            f"{', '.join(HEADS)}. --without-head takes in the rest"
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
    kind, layers, activation, names = HEADS[config["head_type"]]
    wanted: dict[str, Any] = {
        "use_pooler": False,
        "bias": True,
        "layer_norm": True,
        "shift_labels": False,
    }
    problems = Problems(str(path))
    for problem in differences(config, wanted, HEAD_FREE, "a head here"):
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
