"""The frozen encoder: its weights loaded as asked, and its layers run from one depth to another."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from adapters_xitt.errors import XittError
from adapters_xitt.model.pretrained import EncoderFiles, read_lm_head, read_weights
from adapters_xitt.model.quantization import CutTable, HostTable, Packed, pack

# Where the word table is: on the device whole, there with the rows of some ids only, or on the
# host.
EMBEDDINGS = ("whole", "cut", "host")
SPECIAL = 4  # XLM-R's special tokens: <s>, <pad>, </s>, <unk> are the first ids, <mask> is the last


class Encoder:
    """An XLM-R with room for modules in its layers. Its own weights never need a gradient outside
    `full`.

    With `checkpointing` n, every n-th layer keeps only its input for the backward pass and runs
    once more in it. The modules active then must be those of the forward pass: one forward, its
    backward, then the next setup."""

    def __init__(
        self, model: Any, files: EncoderFiles, *, checkpointing: int | None = None
    ) -> None:
        from adapters.context import ForwardContext

        self.model, self.files, self.checkpointing = model, files, checkpointing
        self.layers, self.width = files.layers, files.width
        # What layers of adapters look up while they run; the library fills it in a model's own
        # forward.
        self._context = ForwardContext(None)
        self._context.shared_parameters = model.shared_parameters

    @property
    def device(self) -> torch.device:
        # the word table may be on the host
        return self.model.embeddings.position_embeddings.weight.device

    @property
    def table(self) -> Tensor:
        """The word table [vocabulary, width] on the encoder's device, for a decoder tied to it."""
        if isinstance(self.model.embeddings.word_embeddings, CutTable):
            raise XittError(
                "masked language modelling needs every row of the word table: its softmax is over"
                " the whole vocabulary; keep embeddings whole or on the host, not cut"
            )
        return self.model.embeddings.word_embeddings.weight.to(self.device)

    @property
    def packed(self) -> bool:
        """Whether its products are held in 8 or 4 bits; then their weights can't be read, trained
        or merged."""
        return any(isinstance(parameter, Packed) for parameter in self.model.parameters())

    def embed(self, ids: Tensor) -> Tensor:
        """Token ids [sequences, tokens] to hidden states [sequences, tokens, width]: depth 0,
        before any module."""
        config = self.model.adapters_config
        # a hook of the library runs invertible modules here
        active, config.active_setup = config.active_setup, None
        try:
            return self.model.embeddings(input_ids=ids)
        finally:
            config.active_setup = active

    def run(self, hidden: Tensor, mask: Tensor, start: int, stop: int) -> Tensor:
        """Hidden states at depth `start` to those at depth `stop`, under whatever modules are
        active.

        `mask` [sequences, tokens] is 1 where there is a token. Depth d is the output of d layers:
        `hidden_states[d]`. An active invertible module acts on what enters the first layer."""
        if start == stop:
            return hidden
        if start == 0:
            hidden = self.model.invertible_adapters_forward(hidden)
        bias = torch.zeros(mask.shape, dtype=hidden.dtype, device=hidden.device)
        bias = bias.masked_fill(mask == 0, torch.finfo(hidden.dtype).min)[:, None, None, :]
        bias = bias.expand(-1, 1, mask.shape[1], -1)
        for index, layer in enumerate(self.model.encoder.layer[start:stop], start):
            hidden = self._run_layer(index, layer, hidden, bias)
        return hidden

    def _run_layer(self, index: int, layer: Any, hidden: Tensor, bias: Tensor) -> Tensor:
        """One layer; counted from the ground, so that a trunk below changes nothing about which are
        checkpointed."""

        def run(hidden: Tensor) -> Tensor:
            with self._context:  # also when it runs again in the backward pass
                return layer(hidden, bias)[0]  # positional: a hook of adapters reads it so

        if self.checkpointing and (index + 1) % self.checkpointing == 0 and torch.is_grad_enabled():
            from torch.utils.checkpoint import checkpoint

            # Not the library's own switch, which makes the embeddings need a gradient: layers below
            # the first module would then keep what they never need.
            return checkpoint(run, hidden, use_reentrant=False, preserve_rng_state=True)
        return run(hidden)

    def unembed(self, features: Tensor) -> Tensor:
        """Features of masked language modelling [tokens, width] to logits [tokens, vocabulary]: the
        decoder is the checkpoint's own or, as in XLM-R, the word table. An active invertible module
        is undone first (MAD-X)."""
        features = self.model.invertible_adapters_forward(features[None], rev=True)[0]
        untied = self.lm_head.get("decoder.weight")
        decoder = self.table if untied is None else untied.to(features)
        return functional.linear(features.to(decoder.dtype), decoder, self.lm_bias.to(decoder))

    @cached_property
    def lm_head(self) -> dict[str, Tensor]:
        """`read_lm_head`, once."""
        return read_lm_head(self.files)

    @cached_property
    def lm_bias(self) -> Tensor:
        """The bias of the decoder [vocabulary], zeros where the checkpoint has none."""
        return self.lm_head.get("bias", torch.zeros(self.files.config["vocab_size"]))

    @contextmanager
    def attending(self) -> Iterator[dict[int, list[Tensor]]]:
        """Collects, for the block, the attention of an active fusion: layer → [sequences, tokens,
        parts], one for each of a layer's bottlenecks and each run. Made again from queries and
        keys: the library's own fails in bf16."""
        from adapters.methods.modeling import BertFusion

        attention: dict[int, list[Tensor]] = {}
        handles = []
        for index, layer in enumerate(self.model.encoder.layer):
            for fusion in (module for module in layer.modules() if isinstance(module, BertFusion)):
                sides: dict[str, Tensor] = {}
                for side in ("query", "key"):
                    keep = partial(_keep_side, sides, side)
                    handles.append(getattr(fusion, side).register_forward_hook(keep))
                collect = partial(_collect_attention, sides, attention, index)
                handles.append(fusion.register_forward_hook(collect))
        try:
            yield attention
        finally:
            for handle in handles:
                handle.remove()

    def set_dropout(self, probability: float | None) -> None:
        """Dropout of the encoder's own layers while training; None is what its configuration
        says."""
        hidden, attention = self.files.dropout(probability)
        self.model.embeddings.dropout.p = hidden
        for layer in self.model.encoder.layer:
            layer.attention.self.dropout.p = layer.attention.self.dropout_prob = attention
            layer.attention.output.dropout.p = layer.output.dropout.p = hidden

    def weights(self) -> dict[str, Tensor]:
        """The encoder's own tensors by their names in the checkpoint, modules left out."""
        weights = {}
        for name, value in self.model.state_dict().items():
            short = own_name(name)
            if short and not name.endswith("position_ids"):
                weights[short] = value
        return weights

    def copy(self) -> Encoder:
        """A second encoder with the same weights, for `full`."""
        if self.packed or isinstance(self.model.embeddings.word_embeddings, (CutTable, HostTable)):
            raise XittError(
                "method full trains every weight of the encoder: its base can't be packed in 8 or 4"
                " bits and its embeddings must be whole"
            )
        model = copy.deepcopy(self.model)
        del model.apply_to_adapter_layers  # it is the original's
        return Encoder(model, self.files, checkpointing=self.checkpointing)


def _keep_side(
    sides: dict[str, Tensor], side: str, module: Any, inputs: Any, output: Tensor
) -> None:
    sides[side] = output.detach().float()


def _collect_attention(
    sides: dict[str, Tensor], attention: dict[int, list[Tensor]], layer: int, *hook: Any
) -> None:
    """A fusion has run: its attention, softmax over parts of query [sequences, tokens, width] ·
    keys […, parts, width]."""
    # no matrix product, which autocast would round
    scores = (sides["query"][:, :, None] * sides["key"]).sum(-1)
    attention.setdefault(layer, []).append(scores.softmax(-1).cpu())


# Names that the two libraries give to what they put into a layer.
_FOREIGN = (
    ".lora_",
    ".adapters.",
    ".loras.",
    ".adapter_fusion_layer.",
    ".prefix_tuning.",
    ".shared_parameters",
    "invertible_adapters",
    "lora_magnitude_vector",
)


def own_name(name: str) -> str | None:
    """The checkpoint's name of a tensor of the encoder itself; None for a tensor of a module."""
    if any(word in name for word in _FOREIGN) or not name.startswith(("embeddings.", "encoder.")):
        return None
    return name.replace(".base_layer.", ".")


def load(
    files: EncoderFiles,
    *,
    dtype: torch.dtype = torch.float32,
    bits: int | None = None,
    embeddings: str = "whole",
    ids: Tensor | None = None,
    checkpointing: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> Encoder:
    """The encoder on the CPU, frozen, in evaluation mode, with its weights in `dtype`, its products
    in 8 or 4 `bits`.

    `embeddings` is one of `EMBEDDINGS`; `cut` keeps the rows of `ids` and of the special tokens."""
    if progress:
        progress(f"loading {files.name}")
    model = _blank(files)
    weights = {name: tensor.to(torch.float32) for name, tensor in read_weights(files.folder)}
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if wrong := [
        f"{name} is {tuple(value.shape)}, not {shapes[name]}"
        for name, value in weights.items()
        if name in shapes and tuple(value.shape) != shapes[name]
    ]:
        raise XittError(
            f"{files.folder}: its weights don't fit its configuration; {'; '.join(wrong[:3])}"
        )
    absent, unexpected = model.load_state_dict(weights, strict=False)
    missing = [name for name in absent if not name.endswith("position_ids")]
    if missing or unexpected:
        raise XittError(
            f"{files.folder}: its weights don't fit its configuration; "
            f"missing: {missing[:3]}, too many: {unexpected[:3]}"
        )
    return _furnish(model, files, dtype, bits, embeddings, ids, checkpointing)


def load_on_meta(
    files: EncoderFiles,
    *,
    dtype: torch.dtype = torch.float32,
    bits: int | None = None,
    embeddings: str = "whole",
    ids: Tensor | None = None,
    checkpointing: int | None = None,
) -> Encoder:
    """What `load` gives, on the meta device: sizes without values, read from `files.config`
    alone."""
    with torch.device("meta"):
        return _furnish(_blank(files), files, dtype, bits, embeddings, ids, checkpointing)


def load_random(
    files: EncoderFiles,
    *,
    dtype: torch.dtype = torch.float32,
    bits: int | None = None,
    embeddings: str = "whole",
    ids: Tensor | None = None,
    checkpointing: int | None = None,
) -> Encoder:
    """What `load` gives, with random weights: for measuring, where no checkpoint is at hand."""
    return _furnish(_blank(files), files, dtype, bits, embeddings, ids, checkpointing)


def _blank(files: EncoderFiles) -> Any:
    """The library's model, untouched and with weights that mean nothing."""
    if find_spec("kernels"):
        # A config key can send transformers to a hub repository of compiled kernels where this
        # package is present, and bitsandbytes fetches some by itself.
        raise XittError(
            "the package 'kernels' is installed; it lets a checkpoint's configuration load code. "
            "Uninstall it: pip uninstall kernels"
        )
    # it advises to install that package
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    from transformers import XLMRobertaConfig, XLMRobertaModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    config = XLMRobertaConfig(**files.config, attn_implementation="sdpa")
    try:
        return XLMRobertaModel(config, add_pooling_layer=False)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise XittError(
            f"{files.folder / 'config.json'}: no XLM-R can be built from it ({error})"
        ) from None


def _remember_adapter_layers(model: Any) -> None:
    """The library's own search for its layers, made once: it walks through every module that is in
    them, each time one comes or goes."""
    layers: list[tuple[int, Any]] = []
    model.apply_to_adapter_layers(lambda index, layer: layers.append((index, layer)))

    def apply(function: Callable[[int, Any], object]) -> None:
        for index, layer in layers:
            function(index, layer)

    model.apply_to_adapter_layers = apply


def _furnish(
    model: Any,
    files: EncoderFiles,
    dtype: torch.dtype,
    bits: int | None,
    embeddings: str,
    ids: Tensor | None,
    checkpointing: int | None,
) -> Encoder:
    """The plain model in its precision and with its table as asked; then, last, with room for
    modules."""
    import adapters

    if embeddings not in EMBEDDINGS or (embeddings == "cut") != (ids is not None):
        raise ValueError(
            f"embeddings {embeddings!r}: one of {EMBEDDINGS}, and ids where they are cut"
        )
    model.to(dtype)
    if bits:
        pack(model.encoder, bits)
    words = model.embeddings.word_embeddings
    if ids is not None:
        special = torch.tensor([*range(SPECIAL), words.num_embeddings - 1], device="cpu")
        model.embeddings.word_embeddings = CutTable(words, torch.cat([ids.cpu(), special]))
    elif embeddings == "host":
        model.embeddings.word_embeddings = HostTable(words)
    adapters.init(model)
    _remember_adapter_layers(model)
    model.requires_grad_(False)
    model.eval()
    return Encoder(model, files, checkpointing=checkpointing)
