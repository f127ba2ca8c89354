"""What a folder of another library says of a module, in our words, and whether it fits an encoder.

The folder's configuration is the truth: a tensor that it does not ask for, or asks for and does not
have, or has in another shape, is refused by name; the libraries themselves load such a folder in
silence."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapters_xitt import safe_files, tasks
from adapters_xitt.errors import Problems, XittError
from adapters_xitt.modules.manifest import Module
from adapters_xitt.modules.methods import Choice, Shapes
from adapters_xitt.modules.serialization import MANIFEST
from adapters_xitt.tasks import KINDS
from adapters_xitt.text import printable

CONFIG, FUSION_CONFIG = "adapter_config.json", "adapter_fusion_config.json"
_MARKS = (MANIFEST, CONFIG, FUSION_CONFIG)  # one of them makes a folder a module's
MODEL_TYPE = "xlm-roberta"
PLACEHOLDER = re.compile(r"LABEL_\d+")  # what transformers calls a label that nobody has named

Tensors = dict[str, Any]

# The heads of transformers' own classes: the kind, and their modules' names → ours.
STATIC: dict[str, tuple[str, dict[str, str]]] = {
    "XLMRobertaForSequenceClassification": (
        "pair",
        {"classifier.dense": "pooler", "classifier.out_proj": "out"},
    ),
    "XLMRobertaForTokenClassification": ("tagging", {"classifier": "out"}),
    "XLMRobertaForQuestionAnswering": ("qa", {"qa_outputs": "out"}),
    "XLMRobertaForMultipleChoice": (
        "choice",
        {"roberta.pooler.dense": "pooler", "classifier": "out"},
    ),
    "XLMRobertaForMaskedLM": (
        "mlm",
        {
            "lm_head.dense": "dense",
            "lm_head.layer_norm": "layer_norm",
            "lm_head.decoder": "decoder",
            "lm_head": "decoder",
        },
    ),
}
# of heads that have no labels
OUTPUTS = {name: kind.outputs for name, kind in KINDS.items() if kind.outputs is not None}


@dataclass(frozen=True, kw_only=True)
class Head:
    """A head: its kind, its labels in the order of its outputs, and its tensors by our names."""

    kind: str  # a key of kinds.KINDS
    labels: tuple[str, ...] | None  # None: it has some, the folder names none
    outputs: int
    tensors: Tensors = field(repr=False)
    # of `mlm`: decoder.weight, decoder.bias; the encoder's own
    tied: Tensors = field(default_factory=dict, repr=False)


@dataclass(frozen=True, kw_only=True)
class ForeignModule:
    """A module as another library keeps it."""

    form: str  # adapters | peft
    folder: Path
    name: str
    made_for: str  # what it calls its encoder
    choice: Choice
    tensors: Tensors = field(repr=False)  # names as in `Module`, without "encoder."
    head: Head | None
    # the layers it is in; empty: all but those that its options leave out
    only: tuple[int, ...] = ()
    width: int | None = None  # of its encoder, where the folder says so
    over: tuple[str, ...] = ()  # of a fusion, the names of the modules it is over
    version: str = ""  # of the library that wrote it


def module_folder(folder: Path) -> Path:
    """Where the module of a folder lies: in it, or below it where a library saved several by their
    names (`save_all_adapters`, peft's `save_pretrained` of named adapters) and there is one. A
    `XittError` that names them where there are more."""
    if safe_files.list_files(folder, _MARKS):
        return folder
    below = [
        folder / name
        for name in safe_files.entries(folder)
        if (folder / name).is_dir()
        and not (folder / name).is_symlink()
        and safe_files.list_files(folder / name, _MARKS)
    ]
    if len(below) > 1:
        raise XittError(
            f"{folder}: it holds {len(below)} modules, and an import is of one: "
            + ", ".join(map(str, below))
        )
    if not below:
        raise XittError(
            f"{folder}: no module; none of {', '.join(_MARKS)} is there, nor in a folder below"
        )
    return below[0]


def form_of(folder: Path) -> str:
    """Whose folder it is: xitt, adapters or peft."""
    files = safe_files.list_files(folder, _MARKS)
    if MANIFEST in files:
        return "xitt"
    if FUSION_CONFIG in files:
        return "adapters"
    if CONFIG not in files:
        raise XittError(
            f"{folder}: no module; neither {MANIFEST} nor {CONFIG} nor {FUSION_CONFIG} is there"
        )
    return "peft" if "peft_type" in safe_files.read_json(files[CONFIG]) else "adapters"


def head_shapes(head: Head, width: int) -> Shapes:
    """The names and shapes of a head's tensors."""
    if head.kind == "mlm":
        return {
            "dense.weight": (width, width),
            "dense.bias": (width,),
            "layer_norm.weight": (width,),
            "layer_norm.bias": (width,),
        }
    shapes: Shapes = {"out.weight": (head.outputs, width), "out.bias": (head.outputs,)}
    if KINDS[head.kind].pooler:
        shapes |= {"pooler.weight": (width, width), "pooler.bias": (width,)}
    return shapes


def fit(module: ForeignModule, *, layers: int, width: int, wide: int) -> Choice:
    """The method with every option, on an encoder of that size; a `XittError` with all that doesn't
    fit."""
    problems = Problems(str(module.folder))
    choice = module.choice
    if module.width not in (None, width):
        problems.add(f"made for an encoder {shorten(module.width)} wide, this one is {width} wide")
    beyond = [layer for layer in (*module.only, *choice["leave_out"]) if layer >= layers]
    if beyond:
        problems.add(f"it names layer {max(beyond)}; this encoder has layers 0 to {layers - 1}")
    elif module.only:
        left_out = tuple(layer for layer in range(layers) if layer not in module.only)
        choice = choice.with_options(leave_out=left_out)
    problems.raise_if_any()
    _compare(problems, "", module.tensors, choice.shapes(layers, width, wide))
    if module.head:
        _compare(problems, "head: ", module.head.tensors, head_shapes(module.head, width))
    problems.raise_if_any()
    return choice


def _compare(problems: Problems, what: str, tensors: Mapping[str, Any], wanted: Shapes) -> None:
    """Adds tensors missing, too many, of another shape, and of no floating-point numbers."""
    missing = [name for name in wanted if name not in tensors]
    extra = [name for name in tensors if name not in wanted]
    for problem, names in (("missing", missing), ("too many", extra)):
        if names:
            problems.add(
                f"{what}{len(names)} tensors {problem}: {', '.join(names[:4])}"
                + " …" * (len(names) > 4)
            )
    for name, tensor in tensors.items():
        if name in wanted and tuple(tensor.shape) != wanted[name]:
            problems.add(f"{what}{name} has shape {tuple(tensor.shape)}, needed is {wanted[name]}")
        if not tensor.is_floating_point():
            problems.add(
                f"{what}{name} has dtype {tensor.dtype}; needed are floating-point numbers"
            )


def head_of(
    kind: str,
    theirs: Mapping[str, Any],
    names: Mapping[str, str],
    *,
    path: Path,
    labels: tuple[str, ...] | None,
) -> Head:
    """A head whose modules another library calls by the keys of `names`; every tensor must be of
    one of them."""
    strange = [name for name in theirs if name.rpartition(".")[0] not in names]
    if strange:
        raise XittError(
            f"{path}: {len(strange)} tensors too many, of no head of kind {kind!r} as it is here: "
            f"{', '.join(strange[:4])}"
        )
    tensors: Tensors = {}
    for name, tensor in theirs.items():
        module, _, end = name.rpartition(".")
        tensors[f"{names[module]}.{end}"] = tensor
    tied = {name: tensors.pop(name) for name in list(tensors) if name.startswith("decoder.")}
    counts = [
        tensors[name].shape[0]
        for name in ("out.bias", "out.weight")
        if name in tensors and tensors[name].ndim
    ]
    outputs = OUTPUTS.get(kind, counts[0] if counts else 0)
    if labels is not None and kind not in OUTPUTS and len(labels) != outputs:
        raise XittError(f"{path}: {len(labels)} labels for {outputs} outputs")
    return Head(
        kind=kind,
        labels=() if kind in OUTPUTS else labels,
        outputs=outputs,
        tensors=tensors,
        tied=tied,
    )


def head_for(module: Module, task: str | None) -> Head | None:
    """A module's head for a task, or its only head without one; None where it has none, a
    `XittError` where it has several or none for that task."""
    heads, manifest = module.manifest.heads, module.manifest
    if task:
        record = tasks.task(task)
        heads = {
            space: head
            for space, head in heads.items()
            if head["kind"] == record.kind
            and (not record.labels or sorted(head["labels"]) == sorted(record.labels))
        }
        if not heads:
            raise XittError(
                f"module {manifest.key[:12]}: it has no head for {task}, but "
                f"{', '.join(manifest.heads) or 'none at all'}"
            )
    if len(heads) > 1:
        raise XittError(
            f"module {manifest.key[:12]}: it has {len(heads)} heads, {', '.join(heads)}, and a"
            " folder has room for one; --task says which, --without-head none"
        )
    for space, head in heads.items():
        kind, labels = head["kind"], tuple(head["labels"])
        return Head(
            kind=kind,
            labels=labels,
            outputs=OUTPUTS.get(kind, len(labels)),
            tensors=module.part(f"head.{space}"),
        )
    return None


def shorten(value: Any) -> str:
    """The beginning of what a folder says, safe for a terminal."""
    return printable(value, most=80)


def read_labels(ids: Any, path: Path) -> tuple[str, ...] | None:
    """The labels of a map label → output, in the order of the outputs; None where nobody has named
    them."""
    if not ids:
        return None
    good = isinstance(ids, dict) and all(type(index) is int for index in ids.values())
    if not good or sorted(ids.values()) != list(range(len(ids))):
        raise XittError(f"{path}: label2id must map labels onto the outputs 0 to N - 1, each once")
    if not all(label.isprintable() and 0 < len(label) <= 200 for label in ids):
        raise XittError(f"{path}: a label is made of 1 to 200 printable characters")
    labels = tuple(sorted(ids, key=ids.__getitem__))
    return None if all(PLACEHOLDER.fullmatch(label) for label in labels) else labels
