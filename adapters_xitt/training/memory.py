"""The memory of training one module: what it takes, accounted without a GPU, and the choice among
means to need less.

The account runs one real step at the true size on the meta device, where tensors have sizes and
lifetimes but no values: what autograd saves is counted by `saved_tensors_hooks`, and the peak is
the most bytes alive at once."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.model import encoder
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.model.quantization import HostTable, Packed
from adapters_xitt.model.setup import resolve
from adapters_xitt.modules import composition
from adapters_xitt.modules.methods import Choice, fusion_of
from adapters_xitt.sizes import show

# base -> dtype of the frozen weights, bits of the products; modules, gradients and moments are fp32
# under all of them
BASES: dict[str, tuple[torch.dtype, int | None]] = {
    "32": (torch.float32, None),
    "bf16": (torch.bfloat16, None),
    "16": (torch.float16, None),
    "8bit": (torch.bfloat16, 8),
    "4bit": (torch.bfloat16, 4),
}
OPTIMIZERS = ("32", "8bit")
# bitsandbytes: parameters below this size keep fp32 moments; values that share a scale
EIGHT = (4096, 256)
Item = TypeVar("Item")
LEAST = 512  # tokens: no micro-batch is made smaller than the longest sequence


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """How a training run is held in memory. Only `base` and `optimizer` change what is computed,
    within their precision; the rest gives the same numbers (a smaller micro-batch: but for the
    order of its sums)."""

    # every n-th layer is run again in the backward pass; 1 is every layer
    checkpointing: int | None = None
    base: str = "32"  # the frozen weights: one of BASES
    embeddings: str = "whole"  # one of encoder.EMBEDDINGS
    optimizer: str = "32"  # the moments: one of OPTIMIZERS
    tokens: int = 4096  # tokens a micro-batch may hold, padding included
    # bytes that modules side by side may take, moments and heads too; None: unlimited
    room: int | None = None

    def __post_init__(self) -> None:
        for name, choices in (
            ("base", tuple(BASES)),
            ("embeddings", encoder.EMBEDDINGS),
            ("optimizer", OPTIMIZERS),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} {getattr(self, name)!r}: one of {', '.join(choices)}")
        if self.tokens < 1 or (self.checkpointing is not None and self.checkpointing < 1):
            raise ValueError(
                f"tokens {self.tokens} and checkpointing {self.checkpointing} are counted from 1"
            )

    def loading(self) -> dict[str, Any]:
        """The keywords of `encoder.load` that these means stand for, but for the `ids` of cut
        embeddings."""
        dtype, bits = BASES[self.base]
        return {
            "dtype": dtype,
            "bits": bits,
            "embeddings": self.embeddings,
            "checkpointing": self.checkpointing,
        }

    @property
    def autocast(self) -> torch.dtype | None:
        """What products are computed in; None: in fp32."""
        return None if self.base == "32" else BASES[self.base][0]

    def halved(self) -> MemoryPlan:
        """The same with micro-batches of half the tokens, for a step that ran out of memory."""
        if self.tokens // 2 < 1:
            raise XittError(
                "out of memory with micro-batches of one token; give the run more memory: memory:"
                " 8GiB"
            )
        return replace(self, tokens=self.tokens // 2)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a device or on the CPU."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and any(
        words in text
        for words in (
            "not enough memory",
            "DefaultCPUAllocator",
            "out of memory",
            "CUBLAS_STATUS_ALLOC",
        )
    )


# -- the account


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


def account(
    files: EncoderFiles,
    choice: Choice,
    means: MemoryPlan,
    *,
    kind: str = "pair",
    labels: int = 3,
    length: int = 128,
    step_tokens: int = 4096,
    vocabulary: int | None = None,
    dropout: float | None = None,
    device: str = "cuda",
    parts: int = 0,
) -> Account:
    """What training one module takes: `length` tokens in every sequence, `vocabulary` distinct ids
    in the data, steps of `step_tokens` in micro-batches of `means.tokens`. Only `files.config` is
    read. With `parts` it is a fusion over so many modules of the method.

    `device` says whose kernels and whose autocast: a GPU's attention keeps less than the CPU's with
    dropout."""
    loading = means.loading()
    if means.embeddings == "cut":
        if vocabulary is None:
            raise ValueError("embeddings that are cut need the vocabulary's size")
        loading["ids"] = torch.arange(vocabulary)
    adapted = AdaptedEncoder(encoder.load_on_meta(files, **loading))
    over = tuple(f"part{n}" for n in range(parts))
    for name in over:
        adapted.add(name, choice)
    adapted.add("module", fusion_of(choice, parts) if over else choice, over=over)
    written = (
        composition.Fuse(tuple(map(composition.Part, over)), "module")
        if over
        else composition.Part("module")
    )
    form = resolve(written, adapted.methods, adapted.encoder.layers)
    with torch.device("meta"):
        head = KINDS[kind].head(adapted.encoder, labels)
    trained = [*adapted.trainable("module").values(), *head.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    batch = _batch(kind, max(1, means.tokens // length), length)
    adapted.activate(form)
    made = adapted.encoder_of(form)
    held = _tensors([adapted.encoder.model, made.model, head])
    alive, saved = _Alive(held), _Saved(held)
    with adapted.training(dropout):
        head.train()
        _as_on(device, means.autocast, made.model, head)
        # a second micro-batch finds the first's gradients
        for _ in range(2 if means.tokens < step_tokens else 1):
            saved.sizes.clear()
            with alive:
                with saved.counting():
                    loss = _loss(made, head, batch, kind)
                saved.kept.clear()
                torch.autograd.backward(loss)
                del loss
    table = adapted.encoder.model.embeddings.word_embeddings
    below = [parameter for name in over for parameter in adapted.parameters(name).values()]
    frozen = [tensor for tensor in _tensors([adapted.encoder.model]) if not tensor.requires_grad]
    size = sum(parameter.nbytes for parameter in trained)
    return Account(
        weights=_bytes(frozen) - _bytes(_tensors([table])) - _bytes(below),
        beside=_bytes(below),
        embeddings=0 if isinstance(table, HostTable) else _bytes(_tensors([table])),
        module=size,
        moments=sum(_moments(parameter.numel(), means.optimizer) for parameter in trained),
        gradients=size,
        saved=sum(saved.sizes.values()),
        alive=alive.peak,
    )


def _batch(kind: str, features: int, length: int) -> dict[str, Tensor]:
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


def _loss(made: encoder.Encoder, head: nn.Module, batch: dict[str, Tensor], kind: str) -> Tensor:
    """The loss as training computes it."""
    hidden = made.run(made.embed(batch["ids"]), batch["mask"], 0, made.layers)
    return KINDS[kind].loss(head(hidden, batch), batch)


def _tensors(modules: Sequence[nn.Module]) -> list[Tensor]:
    return [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]


def _bytes(tensors: Sequence[Tensor]) -> int:
    """Bytes of the distinct storages; of packed weights with their scales."""
    found = {
        _key(tensor): (
            tensor.nbytes_held()
            if isinstance(tensor, Packed)
            else tensor.untyped_storage().nbytes()
        )
        for tensor in tensors
    }
    return sum(found.values())


def _key(tensor: Tensor) -> int:
    # the storage's address: on the meta device there is no data's
    return tensor.untyped_storage()._cdata


def _moments(size: int, optimizer: str) -> int:
    """Bytes of AdamW's two moments for a parameter of `size` values."""
    least, block = EIGHT
    return 2 * (size + 4 * -(-size // block)) if optimizer == "8bit" and size >= least else 8 * size


class _Saved:
    """What autograd saves: bytes by storage, parameters left out."""

    def __init__(self, parameters: Sequence[Tensor]) -> None:
        self.parameters = {_key(tensor) for tensor in parameters}
        self.sizes: dict[int, int] = {}
        self.kept: list[Any] = []  # a storage that were freed would lend its address to another

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Counts what is saved inside."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
            yield

    def _pack(self, tensor: Tensor) -> Tensor:
        if _key(tensor) not in self.parameters:
            self.sizes[_key(tensor)] = tensor.untyped_storage().nbytes()
            self.kept.append(tensor.untyped_storage())
        return tensor


class _Alive(TorchDispatchMode):
    """The most bytes of storages alive at once, those that were there before left out."""

    def __init__(self, before: Sequence[Tensor]) -> None:
        super().__init__()
        self.before, self.sizes, self.now, self.peak = {_key(tensor) for tensor in before}, {}, 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(found):
            if (
                isinstance(leaf, Tensor)
                and (key := _key(leaf)) not in self.sizes
                and key not in self.before
            ):
                storage = leaf.untyped_storage()
                self.sizes[key] = storage.nbytes()
                self.now += self.sizes[key]
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._gone, key)
        return found

    def _gone(self, key: int) -> None:
        self.now -= self.sizes.pop(key)


# What CUDA's autocast runs in its own dtype and in fp32 (PyTorch, "CUDA Ops that can autocast"), of
# the functions that the encoder and both module libraries call; the CPU's has no fp32 layer norm.
_LOWER = (
    functional.linear,
    functional.scaled_dot_product_attention,
    torch.matmul,
    torch.bmm,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.Tensor.bmm,
    torch.einsum,
)
_FULL = (
    functional.layer_norm,
    functional.softmax,
    torch.softmax,
    torch.Tensor.softmax,
    functional.log_softmax,
)


class _AsOn(TorchFunctionMode):
    """Autocast and attention as on a device, for tensors on the meta device, which has neither of
    its own."""

    def __init__(self, device: str, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.cuda, self.dtype = device != "cpu", dtype

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.dtype and func in _LOWER:
            args, kwargs = (
                _cast(args, self.dtype),
                dict(zip(kwargs, _cast(kwargs.values(), self.dtype), strict=True)),
            )
        elif self.dtype and self.cuda and func in _FULL:
            args = _cast(args, torch.float32)
            kwargs = dict(zip(kwargs, _cast(kwargs.values(), torch.float32), strict=True))
        if func is functional.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
    ) -> Tensor:
        """The kernel torch takes with a mask: on CUDA the memory-efficient one, on the CPU flash
        without dropout."""
        if self.cuda:
            bias = attn_mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
            return torch.ops.aten._scaled_dot_product_efficient_attention(
                query, key, value, bias, torch.is_grad_enabled(), dropout_p
            )[0]
        if dropout_p == 0.0:
            return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, attn_mask=attn_mask
            )[0]
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal
        )


def _cast(values: Any, dtype: torch.dtype) -> tuple:
    return tuple(
        value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for value in values
    )


def _as_on(device: str, dtype: torch.dtype | None, model: Any, head: nn.Module) -> None:
    """Runs the embeddings, each layer and the head in `_AsOn`; layers of their own, since a
    checkpointed one runs again in the backward pass, inside which a mode around the whole would not
    act."""
    for module in (model.embeddings, *model.encoder.layer, head):

        def forward(*args: Any, _inner: Callable = module.forward, **kwargs: Any) -> Any:
            with _AsOn(device, dtype):
                return _inner(*args, **kwargs)

        module.forward = forward


# -- the choice


def fitting(
    items: Sequence[Item],
    held: Callable[[Item], Mapping[str, int]],
    room: int | None,
    *,
    most: int | None = None,
) -> list[list[Item]]:
    """Items in their order in groups whose modules take `room` bytes together at most, each module
    once, and of `most` items; one that is larger stands alone."""
    groups: list[list[Item]] = []
    taken: dict[str, int] = {}
    for item in items:
        together = {**taken, **held(item)}
        over = room is not None and sum(together.values()) > room
        if not groups or over or len(groups[-1]) == most:
            groups.append([])
            together = dict(held(item))
        groups[-1].append(item)
        taken = together
    return groups


def ladder(
    *,
    tokens: int,
    vocabulary: int | None,
    bases: Sequence[str] = tuple(BASES),
    whole: bool = False,
    mlm: bool = False,
    least: int = LEAST,
) -> list[tuple[str, MemoryPlan]]:
    """The means from cheap to dear, each kept by those after it, with what it costs in words.

    The order is that of what is paid, least first: nothing (rows nobody reads); the rounding that a
    GPU prefers anyway; a transfer of 8 MiB per 4,096 tokens; a sixth, then a third more computing,
    for the same numbers; batches too small to fill a GPU, for the same sums in another order; and
    only then what changes the numbers more than bf16 does: moments in 8 bits, products in 8 and in
    4. `whole` is for a method that trains every weight."""
    now = MemoryPlan(
        tokens=tokens, base="32" if "32" in bases else "bf16" if "bf16" in bases else "16"
    )
    steps: list[tuple[str, dict[str, Any]]] = []
    if vocabulary is not None and not mlm and not whole:
        steps.append(
            ("embeddings cut to the ids of the data: the same numbers", {"embeddings": "cut"})
        )
    half = next((base for base in ("bf16", "16") if base in bases), None)
    if half and now.base != half and not whole:
        steps.append(
            (
                f"frozen weights and products in {half}: rounds, and is faster on a GPU",
                {"base": half},
            )
        )
    if not mlm and not whole:
        steps.append(
            (
                "embeddings on the host: the same numbers, rows are sent in every step",
                {"embeddings": "host"},
            )
        )
    steps += [
        (
            "one layer of 2 run twice: the same numbers, a sixth more computing",
            {"checkpointing": 2},
        ),
        ("every layer run twice: the same numbers, a third more computing", {"checkpointing": 1}),
    ]
    while tokens // 2 >= least:
        tokens //= 2
        steps.append(
            (
                f"micro-batches of {tokens} tokens: the same effective batch, slower",
                {"tokens": tokens},
            )
        )
    if "8bit" in bases:
        steps.append(("moments in 8 bits: rounds the optimiser's state", {"optimizer": "8bit"}))
    for base in ("8bit", "4bit"):
        if base in bases and not whole:
            steps.append(
                (f"frozen products in {base[0]} bits: rounds the encoder, slower", {"base": base})
            )
    found = [("as it is", now)]
    for words, change in steps:
        now = replace(now, **change)
        found.append((words, now))
    return found


def choose(
    budget: int,
    files: EncoderFiles,
    choice: Choice,
    *,
    tokens: int = 4096,
    vocabulary: int | None = None,
    bases: Sequence[str] = tuple(BASES),
    mlm: bool = False,
    least: int = LEAST,
    parts: int = 0,
    **shape: Any,
) -> tuple[MemoryPlan, list[str]]:
    """The cheapest means with which training one module stays below `budget` bytes, and a line for
    each step there; with `parts` a fusion over so many, too. Their `room` is what that leaves for
    modules side by side.

    `bases` are those a run may take; 8 and 4 bits need bitsandbytes and are passed over without it.
    `shape` is what `account` takes beside the means. A `XittError` names the least that was
    possible."""
    missing = (
        [base for base in ("8bit", "4bit") if base in bases]
        if not find_spec("bitsandbytes")
        else []
    )
    steps = ladder(
        tokens=tokens,
        vocabulary=vocabulary,
        bases=[base for base in bases if base not in missing],
        whole=choice.spec.trains_encoder,
        mlm=mlm,
        least=least,
    )
    lines: list[str] = []
    smallest: int | None = None
    before = 0
    for words, means in steps:
        taken = [account(files, choice, means, step_tokens=tokens, vocabulary=vocabulary, **shape)]
        if parts and taken[0].total <= budget:
            taken.append(
                account(
                    files,
                    choice,
                    means,
                    step_tokens=tokens,
                    vocabulary=vocabulary,
                    parts=parts,
                    **shape,
                )
            )
        size = max(each.total for each in taken)
        saves = f", saves {show(before - size)}" if lines and before > size else ""
        lines.append(f"{words}: {show(size)}{saves}")
        smallest, before = size if smallest is None else min(smallest, size), size
        if size <= budget:
            room = budget - max(each.fixed for each in taken)
            return replace(means, room=room), [
                *lines,
                f"chosen for {show(budget)}: {describe(means)}",
            ]
    hint = (
        "; the package bitsandbytes would allow less: pip install 'adapters-xitt[quant]'"
        if missing
        else ""
    )
    raise XittError(
        f"memory {show(budget)}: training {choice.label} on {files.name} takes at least"
        f" {show(smallest)}{hint}\n" + "\n".join(f"  {line}" for line in lines)
    )


def describe(means: MemoryPlan) -> str:
    """Means in a line."""
    again = {None: "no layer run twice", 1: "every layer run twice"}.get(
        means.checkpointing, f"one layer of {means.checkpointing} run twice"
    )
    return (
        f"base {means.base}, embeddings {means.embeddings}, {again}, micro-batches of"
        f" {means.tokens} tokens, moments in {'8 bits' if means.optimizer == '8bit' else 'fp32'}"
    )
