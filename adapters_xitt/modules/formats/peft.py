"""PEFT's form of low-rank updates: adapter_config.json and adapter_model.safetensors, a head among
the tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adapters_xitt import safe_files
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.modules import methods
from adapters_xitt.modules.formats.foreign import (
    CONFIG,
    STATIC,
    ForeignModule,
    Head,
    Tensors,
    head_of,
    read_labels,
    shorten,
)
from adapters_xitt.modules.formats.peft_patterns import PATTERNS, level_ranks
from adapters_xitt.modules.low_rank_merging import plain_lora
from adapters_xitt.modules.methods import METHODS, TARGET_MODULES, TARGET_OF_PATH, Choice
from adapters_xitt.tensor_files import write_tensors

WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."
# among the strings that safetensors keeps beside its tensors: peft's config has no place for it
LABELS = "label2id"

# Kind → transformers' class, peft's task type, and the modules that peft saves beside the updates.
_OVER: dict[str, tuple[str, str | None, list[str] | None]] = {
    "pair": ("XLMRobertaForSequenceClassification", "SEQ_CLS", ["classifier", "score"]),
    "tagging": ("XLMRobertaForTokenClassification", "TOKEN_CLS", ["classifier", "score"]),
    "qa": ("XLMRobertaForQuestionAnswering", "QUESTION_ANS", ["qa_outputs"]),
    "choice": ("XLMRobertaForMultipleChoice", None, ["pooler", "classifier"]),
    "mlm": ("XLMRobertaForMaskedLM", None, ["lm_head.dense", "lm_head.layer_norm"]),
}
_SWITCHES = ("use_rslora", "use_dora")  # of methods that are more than a LoRA
_UNDERSTOOD = (
    "peft_type",
    "task_type",
    "r",
    "lora_alpha",
    "lora_dropout",
    *_SWITCHES,
    "target_modules",
    "layers_to_transform",
    "layers_pattern",
    "modules_to_save",
    "init_lora_weights",
    *PATTERNS,
)
# Keys that say where a module comes from, or belong to a switch that must be off.
_FREE = (
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "auto_mapping",
    "peft_version",
    "megatron_core",
    "qalora_group_size",
    "runtime_config",
)
# the others change the encoder's weights as well
_STARTS = (True, False, "gaussian", "orthogonal", "eva", None)
_OFF = (None, False, "none", "", 0)
_HEADS = ("classifier.", "score.", "qa_outputs.", "lm_head.", "roberta.pooler.", "pooler.")
_TENSOR = re.compile(r"\.(lora_[AB]\.weight|lora_magnitude_vector)$")
# Weights of heads that `all-linear` names beside the encoder's; peft saves such a head whole and
# updates nothing in it.
_OF_HEADS = frozenset(
    word for _, names in STATIC.values() for name in names for word in (name, name.split(".")[-1])
)


def has_head(kind: str) -> bool:
    """Whether transformers has a class with a head of this kind."""
    return kind in _OVER


def model_class(kind: str) -> str:
    """transformers' class that has a head of this kind; a `XittError` where none has."""
    return _over(kind)[0]


def _over(kind: str) -> tuple[str, str | None, list[str] | None]:
    if not has_head(kind):
        raise XittError(
            f"a head of kind {kind}: transformers has no class for it, so peft has no form of it;"
            " export it in our form (xitt), or without its head"
        )
    return _OVER[kind]


# -- writing ---------------------------------------------------------------------------------------


def write(
    folder: Path,
    *,
    choice: Choice,
    tensors: Tensors,
    encoder_name: str,
    head: Head | None,
    above: str | None = None,
    alone: bool = True,
) -> None:
    """Writes a low-rank module's two files into `folder`; a PiSSA as the plain LoRA that it is to
    whoever knows nothing of its start. `above`: the kind of the head over whose class it is loaded,
    where the head is not its own; not `alone`: others are loaded beside it, and a task that peft
    knows would ask each of them for a head."""
    from peft import LoraConfig

    if not choice.spec.is_update:
        raise XittError(
            f"method {choice.label}: not a low-rank update, so peft has no form of it; export it in"
            " the form of adapters"
        )
    if choice.spec.keeps_start:
        tensors, choice = plain_lora(tensors, choice)
    kind = head.kind if head else above
    model, task, saved = _over(kind) if kind else ("XLMRobertaModel", "FEATURE_EXTRACTION", None)
    config = LoraConfig(
        r=choice["rank"],
        lora_alpha=choice["alpha"],
        lora_dropout=choice["dropout"],
        task_type=task if alone or kind is None else None,
        modules_to_save=saved if head else None,
        base_model_name_or_path=encoder_name,
        inference_mode=True,
        auto_mapping={
            "base_model_class": model,
            "parent_library": "transformers.models.xlm_roberta.modeling_xlm_roberta",
        },
        **_targets(choice, _read_targets(tensors, folder)[0]),
        **choice.spec.constants,
    )
    config.save_pretrained(str(folder))
    inside = PREFIX + ("roberta." if kind else "")
    theirs = {
        inside + name.replace("magnitude_vector.weight", "magnitude_vector"): tensor
        for name, tensor in tensors.items()
    }
    if head:
        names = {ours: their for their, ours in STATIC[model][1].items()}
        for name, tensor in head.tensors.items():
            module, _, end = name.rpartition(".")
            theirs[f"{PREFIX}{names[module]}.{end}"] = tensor
    metadata = {"format": "pt"}
    if head and head.labels:
        metadata[LABELS] = json.dumps(
            {label: index for index, label in enumerate(head.labels)}, ensure_ascii=False
        )
    write_tensors(folder / WEIGHTS, theirs, metadata)


def _targets(choice: Choice, adapted: tuple[int, ...]) -> dict[str, Any]:
    """peft's words for the target modules of an update. A list of names where names alone find
    them; a pattern where not: `output.dense` is the end of both blocks' outputs."""
    paths = [TARGET_MODULES[target].path for target in choice["places"]]
    if "down" in choice["places"] and "attention" not in choice["places"]:
        layers, ends = "|".join(map(str, adapted)), "|".join(map(re.escape, paths))
        return {"target_modules": rf"(.*\.)?encoder\.layer\.({layers})\.({ends})"}
    return {
        "target_modules": [path.removeprefix("attention.self.") for path in paths],
        "layers_to_transform": list(adapted) if choice["leave_out"] else None,
    }


# -- reading ---------------------------------------------------------------------------------------


def read(folder: Path, *, with_head: bool = True) -> ForeignModule:
    """The low-rank module in `folder`, with its head where it has one; a `XittError` for every key
    that changes what is computed and has no counterpart here."""
    files = safe_files.list_files(folder, (CONFIG, WEIGHTS))
    path = files.get(CONFIG, folder / CONFIG)
    config = safe_files.read_json(path)
    if WEIGHTS not in files:
        raise XittError(
            f"{folder / WEIGHTS}: missing; save it with save_pretrained, which writes safetensors"
        )
    theirs = safe_files.read_tensors(files[WEIGHTS])
    tensors, rest = _split(theirs)
    switches = [name for name in _SWITCHES if config.get(name)]
    _check(config, path, switches)
    layers, targets = _read_targets(tensors, files[WEIGHTS])
    above = "roberta." if any(name.startswith(f"{PREFIX}roberta.") for name in theirs) else ""
    tensors, rank = level_ranks(tensors, config, path, above)
    only = _layers(config, path)
    if isinstance(config.get("target_modules"), list):
        targets = _named_targets(config["target_modules"], path)
    # a pattern is not run, its tensors say what it finds
    elif config.get("target_modules") != "all-linear":
        only = layers
    alpha = config.get("lora_alpha", 8)
    options = {
        "rank": rank,
        "alpha": int(alpha) if isinstance(alpha, float) and alpha.is_integer() else alpha,
        "dropout": config.get("lora_dropout", 0.0),
        "places": targets,
    }
    try:
        choice = methods.choose(_method_name(switches), options)
    except XittError as error:
        raise XittError(f"{path}: {error}") from None
    _check_rest(rest, files[WEIGHTS])
    return ForeignModule(
        form="peft",
        folder=folder,
        name=folder.name,
        choice=choice,
        tensors=tensors,
        only=only,
        made_for=str(config.get("base_model_name_or_path") or "")[:200],
        head=_head(rest, config, files[WEIGHTS]) if with_head else None,
        version=str(config.get("peft_version") or "")[:40],
    )


def _method_name(switches: list[str]) -> str:
    """The method that peft switches on by these keys, its start being nobody's business here."""
    wanted = dict.fromkeys(switches, True)
    return next(
        method.name
        for method in METHODS.values()
        if method.is_update and dict(method.constants) == wanted and not method.keeps_start
    )


def _split(theirs: Tensors) -> tuple[Tensors, Tensors]:
    """The updates' tensors by our names, and all the others by their own."""
    updates: Tensors = {}
    rest: Tensors = {}
    for name, stored in theirs.items():
        tensor = stored.float() if stored.is_floating_point() else stored
        short = name.removeprefix(PREFIX)
        inner = short.removeprefix("roberta.")
        if _TENSOR.search(inner):
            updates[inner.replace("magnitude_vector", "magnitude_vector.weight")] = tensor
        else:
            rest[short] = tensor
    return updates, rest


def _check(config: Mapping[str, Any], path: Path, switches: list[str]) -> None:
    """Every key must be understood, free, or off."""
    problems = Problems(str(path))
    if config.get("peft_type") != "LORA":
        problems.add(
            f"peft_type is {str(config.get('peft_type'))[:40]!r}; only LORA and what it has are"
            " read here"
        )
    if config.get("init_lora_weights", True) not in _STARTS:
        problems.add(
            f"init_lora_weights is {str(config['init_lora_weights'])[:40]!r}, which changed the"
            " encoder's weights as well; save it again with"
            " path_initial_model_for_weight_conversion"
        )
    for key, value in config.items():
        if key not in (*_UNDERSTOOD, *_FREE) and value not in _OFF and value not in ([], {}):
            problems.add(
                f"{shorten(key)} is {shorten(value)}; it changes what is computed, or may, and is"
                " not read here"
            )
    if len(switches) > 1:
        problems.add("use_rslora and use_dora together are no method here")
    if not isinstance(config.get("target_modules"), (list, str)):
        problems.add("target_modules is missing, so which weights it updates is not said")
    if config.get("layers_pattern") not in (None, [], "", "layer", ["layer"]):
        problems.add(
            f"layers_pattern is {shorten(config['layers_pattern'])}; layers are encoder.layer.N"
            " here"
        )
    problems.raise_if_any()


def _layers(config: Mapping[str, Any], path: Path) -> tuple[int, ...]:
    """The layers that the configuration names; none where it means all."""
    value = config.get("layers_to_transform")
    layers = [value] if isinstance(value, int) else value or []
    if not isinstance(layers, list) or not all(
        type(layer) is int and layer >= 0 for layer in layers
    ):
        raise XittError(f"{path}: layers_to_transform must be whole numbers, not {shorten(value)}")
    return tuple(sorted(set(layers)))


def _named_targets(names: list[Any], path: Path) -> list[str]:
    """The target modules that a list of peft's names finds: a module's path, or its end."""
    targets: list[str] = []
    for name in names:
        ends = [
            target
            for target, module in TARGET_MODULES.items()
            if isinstance(name, str) and f".encoder.layer.0.{module.path}".endswith(f".{name}")
        ]
        if not ends and not (isinstance(name, str) and name in _OF_HEADS):
            raise XittError(
                f"{path}: target_modules names {str(name)[:80]!r}, which is no place here; there"
                f" are {', '.join(TARGET_OF_PATH)}"
            )
        targets += ends
    return [target for target in TARGET_MODULES if target in targets]


def _read_targets(tensors: Tensors, path: Path) -> tuple[tuple[int, ...], list[str]]:
    """The layers and target modules that the tensors themselves are in."""
    layers, targets = set(), set()
    for name in tensors:
        match = re.fullmatch(r"encoder\.layer\.(\d{1,4})\.(.+?)\.lora_.*", name)
        if not match or match[2] not in TARGET_OF_PATH:
            raise XittError(
                f"{path}: tensor {name[:200]!r} updates no weight that has a place here"
            )
        layers.add(int(match[1]))
        targets.add(TARGET_OF_PATH[match[2]])
    if not layers:
        raise XittError(f"{path}: no tensor of a low-rank update in it")
    return tuple(sorted(layers)), [target for target in TARGET_MODULES if target in targets]


def _check_rest(rest: Tensors, path: Path) -> None:
    """Refuses tensors that belong neither to updates nor to a head, which may be left behind."""
    strange = [name for name in rest if not name.startswith(_HEADS)]
    if strange:
        raise XittError(
            f"{path}: {len(strange)} tensors too many, neither of low-rank updates nor of"
            f" a head: {', '.join(strange[:4])}"
        )


def _head(rest: Tensors, config: Mapping[str, Any], path: Path) -> Head | None:
    """The head among the tensors: the one of transformers' classes that has just these modules."""
    if not rest:
        if saved := config.get("modules_to_save"):  # as peft leaves it when it converts a PiSSA
            raise XittError(
                f"{path}: modules_to_save names {shorten(saved)}, no tensor is of them, and"
                " peft itself loads no such folder over a model with a head; --without-head takes"
                " in the rest"
            )
        return None
    modules = {name.rpartition(".")[0] for name in rest}
    wanted = next(
        (kind for kind in ("pair", "tagging", "qa") if _OVER[kind][1] == config.get("task_type")),
        None,
    )
    for kind, names in STATIC.values():
        needed = {their for their, ours in names.items() if ours != "decoder"}
        if needed <= modules <= set(names) and wanted in (None, kind):
            labels = read_labels(_json(safe_files.read_metadata(path).get(LABELS), path), path)
            return head_of(kind, rest, names, path=path, labels=labels)
    raise XittError(
        f"{path}: tensors that are no head as it is here: {', '.join(list(rest)[:4])};"
        " heads are those of transformers' classes for sequences, tokens, questions, choices (its"
        ' pooler saved as well: modules_to_save=["pooler", "classifier"]) and masked words.'
        " --without-head takes in the rest"
    )


def _json(text: str | None, path: Path) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise XittError(f"{path}: {LABELS} in its metadata is not JSON ({error})") from None
