"""An encoder's files: finding them, reading them safely, and the fingerprint of what they hold.

XLM-R checkpoints only (Conneau et al. 2020). Nothing in them chooses code, kernels or further
files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from adapters_xitt import hub, safe_files
from adapters_xitt.errors import Problems, XittError, nearest, unknown
from adapters_xitt.hashing import canonical, tensors_digest
from adapters_xitt.model.seen import Seen, read_seen

# The keys of config.json that shape an XLM-R; every other key is dropped, `auto_map` and `_attn_…`
# among them.
CONFIG_KEYS = (
    "attention_probs_dropout_prob",
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "hidden_dropout_prob",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "layer_norm_eps",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "pad_token_id",
    "position_embedding_type",
    "type_vocab_size",
    "vocab_size",
)
# Those of them that decide what the same tensors compute, and what the library takes where one is
# missing.
COMPUTES = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "num_attention_heads": 12,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
}
# Those that training alone reads: no part of the fingerprint, for they change nothing about what a
# module is for, but of the key of everything that is trained.
DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
# key → the least and the most it may be; XLM-R XXL has 48 layers of width 4096 and 250,002 words
_WHOLE = {
    "hidden_size": (1, 2**20),
    "num_hidden_layers": (1, 1000),
    "num_attention_heads": (1, 2**20),
    "intermediate_size": (1, 2**24),
    "vocab_size": (5, 2**31),
    "max_position_embeddings": (4, 2**24),
    "type_vocab_size": (1, 2**16),
    "pad_token_id": (0, 2**31),
    "bos_token_id": (0, 2**31),
    "eos_token_id": (0, 2**31),
}
_SHARES = (
    "attention_probs_dropout_prob",
    "hidden_dropout_prob",
    "initializer_range",
    "layer_norm_eps",
)
_POSITIONS = ("absolute", "relative_key", "relative_key_query")
# tokens that a sequence must be able to have: two marks around each of two sentences, and some
# words
_FEWEST = 8
# A tensor's name → what its rows and columns are.
_SIZES = {
    "embeddings.word_embeddings.weight": ("vocab_size", "hidden_size"),
    "embeddings.position_embeddings.weight": ("max_position_embeddings", "hidden_size"),
    "embeddings.token_type_embeddings.weight": ("type_vocab_size", "hidden_size"),
    "encoder.layer.0.intermediate.dense.weight": ("intermediate_size", "hidden_size"),
}
TOKENIZER = 256 * safe_files.MIB  # bytes that tokenizer.json may have; XLM-R's has 17 million
UNKNOWN = "0" * 64  # the fingerprint of weights that are not here
PREFIXES = ("roberta.", "model.", "")  # under which checkpoints keep the encoder


@dataclass(frozen=True)
class EncoderFiles:
    """Where an encoder lies, what people call it, and its fingerprint (tensors as stored, and the
    tokenizer)."""

    folder: Path
    name: str
    fingerprint: str
    config: dict[str, Any]
    parameters: int
    # False: only its configuration and tokenizer are here, and its fingerprint is unknown
    weights: bool = True
    seen: Seen | None = None  # what its own training had, where a file beside it says so

    @property
    def layers(self) -> int:
        return self.config["num_hidden_layers"]

    @property
    def width(self) -> int:
        return self.config["hidden_size"]

    @property
    def wide(self) -> int:
        """The width of the feed-forward blocks."""
        return self.config.get("intermediate_size", 3072)  # the library's default

    def dropout(self, probability: float | None = None) -> tuple[float, float]:
        """Dropout of hidden states and of attention while training; None is what the configuration
        says."""
        hidden, attention = (
            self.config.get(key, default) if probability is None else probability
            for key, default in DROPOUT.items()
        )
        return float(hidden), float(attention)

    @property
    def positions(self) -> int:
        """Tokens a sequence may have; XLM-R counts positions from pad_token_id + 1."""
        return self.config["max_position_embeddings"] - self.config["pad_token_id"] - 1


def local_folder(name: str) -> Path | None:
    """The folder of an encoder on this machine: `demo`, a folder, or a name below XITT_ENCODERS;
    None where there is none."""
    if name == "demo":
        from adapters_xitt import demo

        return demo.encoder_dir()
    beside = os.environ.get("XITT_ENCODERS")
    for folder in (Path(name), *([Path(beside) / name] if beside else [])):
        if os.path.isfile(folder / "config.json"):  # a name too long for the disk is no folder
            return folder
    return None


def locate(name: str, *, weights: bool = True) -> Path:
    """The folder of an encoder: `demo`, a folder, a name below XITT_ENCODERS, or a hub id with its
    revision. From a hub no `weights` are downloaded where none are asked for."""
    if folder := local_folder(name):
        return folder
    if "@" in name:
        return hub.fetch_encoder(name, weights=weights)
    beside = os.environ.get("XITT_ENCODERS")
    known = (
        sorted(path.parent.name for path in Path(beside).glob("*/config.json")) if beside else []
    )
    near = nearest(name, ["demo", *known])
    raise XittError(
        f"encoder {name[:200]!r}: no such folder"
        + (f" (did you mean {near!r}?)" if near else "")
        + f", and none of that name below XITT_ENCODERS ({beside or 'not set'}); "
        "a hub encoder is written owner/name@revision, the revision a 40-digit commit"
    )


def inspect(name: str, *, weights: bool = True) -> EncoderFiles:
    """Finds an encoder and reads its configuration and fingerprint; builds no model. Where no
    `weights` are asked for it may lack them: then its fingerprint is unknown, and no key of a store
    is made with it."""
    folder = locate(name, weights=weights)
    path = folder / "config.json"
    config = safe_files.read_json(path)
    if config.get("model_type") != "xlm-roberta":
        raise XittError(
            f"{path}: model_type is {config.get('model_type')!r}; only xlm-roberta encoders run"
            " here"
        )
    needed = ("hidden_size", "num_hidden_layers", "max_position_embeddings", "vocab_size")
    missing = [key for key in needed if key not in config]
    if missing:
        raise XittError(f"{path}: {', '.join(missing)} missing")
    config = {"pad_token_id": 1, **{key: config[key] for key in CONFIG_KEYS if key in config}}
    _check_values(config, path)
    if not (folder / "tokenizer.json").is_file():
        raise XittError(
            f"{folder}: tokenizer.json is missing; the fast tokenizer is needed for its offsets"
        )
    safe_files.checked_size(folder / "tokenizer.json", TOKENIZER)
    if not weights and not _weight_paths(folder):
        return EncoderFiles(
            folder,
            name,
            UNKNOWN,
            config,
            _count_parameters(config),
            weights=False,
            seen=read_seen(folder),
        )
    tensors = dict(read_weights(folder))
    _check_sizes(config, tensors, folder)
    sha = hashlib.sha256((folder / "tokenizer.json").read_bytes())
    sha.update(tensors_digest(tensors).encode())
    sha.update(
        canonical({key: config.get(key, default) for key, default in COMPUTES.items()}).encode()
    )
    return EncoderFiles(
        folder,
        name,
        sha.hexdigest(),
        config,
        sum(tensor.numel() for tensor in tensors.values()),
        seen=read_seen(folder),
    )


def _check_values(config: dict[str, Any], path: Path) -> None:
    """Refuses a configuration that no XLM-R could have, every problem at once."""
    from transformers.activations import ACT2FN

    problems = Problems(str(path))
    for key, value in config.items():
        low, high = _WHOLE.get(key, (0, 0))
        if key in _WHOLE and not (type(value) is int and low <= value <= high):
            problems.add(
                f"{key} is {str(value)[:80]!r}; expected a whole number from {low} to {high:,}"
            )
        elif key in _SHARES and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1
        ):
            problems.add(f"{key} is {str(value)[:80]!r}; expected a number from 0 to 1")
    for key, choices in (("hidden_act", list(ACT2FN)), ("position_embedding_type", _POSITIONS)):
        if key in config and config[key] not in choices:
            problems.add(f"{key}: {unknown('value', str(config[key])[:80], choices)}")
    problems.raise_if_any()
    # the library's default
    width, heads = config["hidden_size"], config.get("num_attention_heads", 12)
    if width % heads:
        problems.add(
            f"hidden_size is {width}, num_attention_heads {heads}: the width must be a multiple of"
            " the heads"
        )
    if config["max_position_embeddings"] - config["pad_token_id"] - 1 < _FEWEST:
        problems.add(
            f"max_position_embeddings is {config['max_position_embeddings']}, pad_token_id"
            f" {config['pad_token_id']}: positions count from pad_token_id + 1, so that no sequence"
            f" of {_FEWEST} tokens fits"
        )
    for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
        if config.get(key, 0) >= config["vocab_size"]:
            problems.add(
                f"{key} is {config[key]}, beyond the {config['vocab_size']} words of vocab_size"
            )
    problems.raise_if_any()


def _check_sizes(config: dict[str, Any], tensors: dict[str, Tensor], folder: Path) -> None:
    """The sizes that the configuration claims are those of the weights, before anybody makes room
    for them."""
    for name, keys in _SIZES.items():
        if name not in tensors or not all(key in config for key in keys):
            continue
        claimed = tuple(config[key] for key in keys)
        if sorted(tensors[name].shape) != sorted(claimed):
            raise XittError(
                f"{folder}: its weights don't fit its configuration; {name} is "
                f"{tuple(tensors[name].shape)}, {' and '.join(keys)} say {claimed}"
            )
    layers = {name.split(".")[2] for name in tensors if name.startswith("encoder.layer.")}
    if len(layers) < config["num_hidden_layers"]:
        raise XittError(
            f"{folder}: its weights have {len(layers)} layers, its configuration says "
            f"{config['num_hidden_layers']}: tensors are missing; is a shard?"
        )


def _count_parameters(config: dict[str, Any]) -> int:
    """The parameters that an encoder of this configuration has, its pooler and heads left out."""
    width, wide = config["hidden_size"], config.get("intermediate_size", 3072)
    rows = (
        config["vocab_size"] + config["max_position_embeddings"] + config.get("type_vocab_size", 2)
    )
    layer = 4 * (width + 1) * width + 2 * width * wide + wide + width + 4 * width
    return (rows + 2) * width + config["num_hidden_layers"] * layer


def _weight_paths(folder: Path) -> list[Path]:
    whole = folder / "model.safetensors"
    return [whole] if whole.is_file() else sorted(folder.glob("model-*-of-*.safetensors"))


def _weight_files(folder: Path) -> list[Path]:
    paths = _weight_paths(folder)
    if not paths:
        raise XittError(f"{folder}: no model.safetensors; pickled weights are not read")
    return paths


def read_weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The encoder's tensors as stored, names without prefix; heads, pooler and position buffers
    left out."""
    from safetensors import SafetensorError, safe_open

    for path in _weight_files(folder):
        safe_files.read_header(path)
        try:
            with safe_open(path, "pt") as file:
                names = list(file.keys())
                prefix = next(
                    p
                    for p in PREFIXES
                    if not p
                    or any(name.startswith((p + "embeddings.", p + "encoder.")) for name in names)
                )
                for name in names:
                    short = name.removeprefix(prefix)
                    if short.startswith(("embeddings.", "encoder.")) and not short.endswith(
                        "position_ids"
                    ):
                        yield short, file.get_tensor(name)
        except SafetensorError as error:
            raise XittError(f"{path}: not a whole safetensors file ({error})") from None


def read_lm_head(files: EncoderFiles) -> dict[str, Tensor]:
    """The checkpoint's head for masked language modelling, float32 on the CPU: `dense.*`,
    `layer_norm.*`, `bias` [vocabulary] and `decoder.weight` [vocabulary, width], each where its
    file has one."""
    from safetensors import safe_open

    width, vocabulary = files.width, files.config["vocab_size"]
    shapes = {
        "dense.weight": (width, width),
        "dense.bias": (width,),
        "layer_norm.weight": (width,),
        "layer_norm.bias": (width,),
        "bias": (vocabulary,),
        "decoder.weight": (vocabulary, width),
    }
    head = {}
    for path in _weight_files(files.folder):
        with safe_open(path, "pt") as file:
            for name in file.keys():
                prefix, _, short = name.rpartition("lm_head.")
                if (
                    prefix not in PREFIXES
                    or short not in shapes
                    or not name.startswith(f"{prefix}lm_head.")
                ):
                    continue
                head[short] = file.get_tensor(name).to(torch.float32)
                if shapes[short] != tuple(head[short].shape):
                    raise XittError(
                        f"{path}: {name} is {tuple(head[short].shape)}, not {shapes[short]}"
                    )
    return head


def load_tokenizer(files: EncoderFiles) -> Any:
    """The fast tokenizer, built from tokenizer.json alone."""
    from transformers import XLMRobertaTokenizerFast

    # No length of its own: encoding cuts to the lengths it is told, and says so nowhere else.
    path = files.folder / "tokenizer.json"
    try:
        return XLMRobertaTokenizerFast(tokenizer_file=str(path), model_max_length=10**9)
    except Exception as error:  # the library raises nothing narrower
        raise XittError(f"{path}: not a tokenizer ({error})") from None
