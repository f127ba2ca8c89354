"""The memory of training one module, accounted without a GPU.

The account runs one real step at the true size on the meta device, where tensors have sizes and
lifetimes but no values: what autograd saves is counted by `saved_tensors_hooks`, and the peak is
the most bytes alive at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from adapters_xitt.kinds import KINDS
from adapters_xitt.model import encoder
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.model.quantization import HostTable
from adapters_xitt.model.setup import resolve
from adapters_xitt.modules.composition import Fuse, Part
from adapters_xitt.modules.methods import Choice, fusion_of
from adapters_xitt.training.memory.device import behave_as_on
from adapters_xitt.training.memory.plan import MemoryPlan
from adapters_xitt.training.memory.trackers import (
    AliveBytes,
    SavedBytes,
    distinct_bytes,
    tensors_of,
)

# bitsandbytes: parameters below this size keep fp32 moments; values that share a scale
EIGHT = (4096, 256)


@dataclass(frozen=True)
class Account:
    """Bytes on the device while one module is trained. Not in it: the driver's context, cuBLAS's
    workspace (8 MiB; 32 on Hopper), what the allocator rounds up, and temporaries inside
    kernels."""

    weights: int  # the frozen encoder but for its word table
    embeddings: int  # the word table, as far as it is on the device
    module: int  # what is trained, the head among it, fp32
    beside: int  # frozen modules that it trains above, beside or over
    moments: int
    gradients: int  # of all that is trained
    saved: int  # what autograd keeps from the forward for the backward pass, each storage once
    # the most at once of what a step makes: saved, gradients, layers run again, temporaries, logits
    alive: int

    @property
    def total(self) -> int:
        """The most bytes alive at once."""
        return self.fixed + self.module + self.moments + self.beside

    @property
    def fixed(self) -> int:
        """The bytes that do not grow with the modules that train side by side: they take their
        steps in turn."""
        return self.weights + self.embeddings + max(self.alive, self.gradients)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What one module is trained on. `device` says whose kernels and whose autocast: a GPU's
    attention keeps less than the CPU's with dropout."""

    kind: str = "pair"
    labels: int = 3
    length: int = 128  # tokens of every sequence
    step_tokens: int = 4096  # tokens of an optimiser step
    vocabulary: int | None = None  # distinct ids in the data
    dropout: float | None = None  # None: as the encoder's configuration says
    device: str = "cuda"
    parts: int = 0  # modules that it is a fusion over; 0: it is none


def account(
    files: EncoderFiles, method: Choice, memory_plan: MemoryPlan, workload: Workload
) -> Account:
    """What training one module takes, in micro-batches of `memory_plan.tokens`. Only `files.config`
    is read."""
    adapted, parts = _encoder_on_meta(files, method, memory_plan, workload)
    name = "module"
    composition = Fuse(tuple(map(Part, parts)), name) if parts else Part(name)
    setup = resolve(composition, adapted.methods, adapted.encoder.layers)
    with torch.device("meta"):
        head = KINDS[workload.kind].head(adapted.encoder, workload.labels)
    trained = [*adapted.trainable(name).values(), *head.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    adapted.activate(setup)
    alive, saved = _train_step(adapted, adapted.encoder_of(setup), head, memory_plan, workload)
    table = adapted.encoder.model.embeddings.word_embeddings
    table_bytes = distinct_bytes(tensors_of([table]))
    below = [value for part in parts for value in adapted.parameters(part).values()]
    model = tensors_of([adapted.encoder.model])
    frozen = [tensor for tensor in model if not tensor.requires_grad]
    size = sum(parameter.nbytes for parameter in trained)
    return Account(
        weights=distinct_bytes(frozen) - table_bytes - distinct_bytes(below),
        beside=distinct_bytes(below),
        embeddings=0 if isinstance(table, HostTable) else table_bytes,
        module=size,
        moments=sum(
            moments_bytes(parameter.numel(), memory_plan.optimizer) for parameter in trained
        ),
        gradients=size,
        saved=sum(saved.sizes.values()),
        alive=alive.peak,
    )


def _encoder_on_meta(
    files: EncoderFiles, method: Choice, memory_plan: MemoryPlan, workload: Workload
) -> tuple[AdaptedEncoder, tuple[str, ...]]:
    """An encoder on the meta device with the module to be trained, and the parts that it is a
    fusion over."""
    options = memory_plan.encoder_options()
    if memory_plan.embeddings == "cut":
        if workload.vocabulary is None:
            raise ValueError("embeddings that are cut need the vocabulary's size")
        options["ids"] = torch.arange(workload.vocabulary)
    adapted = AdaptedEncoder(encoder.load_on_meta(files, **options))
    parts = tuple(f"part{number}" for number in range(workload.parts))
    for part in parts:
        adapted.add(part, method)
    adapted.add("module", fusion_of(method, len(parts)) if parts else method, over=parts)
    return adapted, parts


def _train_step(
    adapted: AdaptedEncoder,
    trained_encoder: encoder.Encoder,
    head: nn.Module,
    memory_plan: MemoryPlan,
    workload: Workload,
) -> tuple[AliveBytes, SavedBytes]:
    """One step of training, and what it held."""
    tensors = tensors_of([adapted.encoder.model, trained_encoder.model, head])
    batch = _batch(max(1, memory_plan.tokens // workload.length), workload.length)
    alive, saved = AliveBytes(tensors), SavedBytes(tensors)
    with adapted.training(workload.dropout):
        head.train()
        behave_as_on(workload.device, memory_plan.autocast, trained_encoder.model, head)
        # a second micro-batch finds the first's gradients
        for _ in range(2 if memory_plan.tokens < workload.step_tokens else 1):
            saved.sizes.clear()
            with alive:
                with saved.counting():
                    loss = _loss(trained_encoder, head, batch, workload.kind)
                saved.kept.clear()
                torch.autograd.backward(loss)
                del loss
    return alive, saved


def _batch(features: int, length: int) -> dict[str, Tensor]:
    """A batch of any kind on the meta device; what a kind doesn't read is not in the way."""
    long = partial(torch.zeros, dtype=torch.long, device="meta")
    return {
        "ids": long(features, length),
        "mask": long(features, length),
        "label": long(features),
        "labels": long(features, length),
        "word": long(features, length),
        "start": long(features),
        "end": long(features),
    }


def _loss(
    trained_encoder: encoder.Encoder, head: nn.Module, batch: dict[str, Tensor], kind: str
) -> Tensor:
    """The loss as training computes it. What is embedded has no name here: it would live on."""
    layers = trained_encoder.layers
    hidden = trained_encoder.run(trained_encoder.embed(batch["ids"]), batch["mask"], 0, layers)
    return KINDS[kind].loss(head(hidden, batch), batch)


def moments_bytes(size: int, optimizer: str) -> int:
    """Bytes of AdamW's two moments for a parameter of `size` values."""
    least, block = EIGHT
    return 2 * (size + 4 * -(-size // block)) if optimizer == "8bit" and size >= least else 8 * size
