"""Frozen weights held small: products in 8 or 4 bits, and a word table cut to some rows or kept on
the host.

Nothing here is ever trained or saved. A packed weight is one parameter that knows how to be
multiplied with: the layer around it stays an ordinary `nn.Linear`, so that both module libraries
see one."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from adapters_xitt.errors import XittError

# int8 with a scale per row; NF4 in blocks of 64 with 8-bit scales (Dettmers et al. 2022, 2023)
BITS = (8, 4)
BLOCK = 64
SCALES = 256  # NF4: block scales that share one scale of their own


class Packed(nn.Parameter):
    """A frozen weight [out, in] in 8 or 4 bits, unpacked inside each product and kept nowhere.

    bitsandbytes' own layers are not used: its 8-bit product keeps every input for the backward
    pass, which costs more than the weights save and, held outside autograd's sight, outlives
    checkpointing; its 4-bit layer gives back the dtype it was given, fp32 after a layer norm under
    autocast."""

    bits: int
    whole: tuple[int, int]
    # 8: scales [out] fp32; 4: bitsandbytes' QuantState; on the meta device the tensors that these
    # hold
    state: Any

    @classmethod
    def of(cls, weight: Tensor, bits: int) -> Packed:
        """`weight` [out, in] packed; on the meta device its sizes alone, for which no package is
        needed."""
        packed, state = _PACK[bits](weight)
        self = torch.Tensor._make_subclass(cls, packed, False)
        out_size, in_size = weight.shape
        self.bits, self.whole, self.state = bits, (out_size, in_size), state
        return self

    def unpack(self, dtype: torch.dtype) -> Tensor:
        """The weight [out, in] it stands for."""
        if self.is_meta:
            return torch.empty(self.whole, dtype=dtype, device="meta")
        data = self.data.as_subclass(Tensor)
        if self.bits == 8:
            self.state = self.state.to(self.device)
            return data.to(dtype).mul_((self.state / 127)[:, None])
        from bitsandbytes.functional import dequantize_4bit

        self.state.to(self.device)  # in place; a parameter is moved without what hangs on it
        return dequantize_4bit(data, self.state).view(self.whole).to(dtype)

    def nbytes_held(self) -> int:
        """Bytes of the packed weight and its scales."""
        if self.bits == 8:
            return self.data.nbytes + 4 * self.whole[0]
        blocks = -(-self.whole[0] * self.whole[1] // BLOCK)
        return self.data.nbytes + blocks + 4 * -(-blocks // SCALES)

    @classmethod
    def __torch_function__(
        cls, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if func is functional.linear:
            return _product(*args, **(kwargs or {}))
        return nn.Parameter.__torch_function__(func, types, args, kwargs or {})


def _pack8(weight: Tensor) -> tuple[Tensor, Any]:
    if weight.is_meta:
        return torch.empty(weight.shape, dtype=torch.int8, device="meta"), None
    from bitsandbytes.functional import int8_vectorwise_quant

    packed, scales, _ = int8_vectorwise_quant(weight.to(torch.float16))
    return packed, scales


def _pack4(weight: Tensor) -> tuple[Tensor, Any]:
    if weight.is_meta:
        return torch.empty((weight.numel() + 1) // 2, 1, dtype=torch.uint8, device="meta"), None
    from bitsandbytes.functional import quantize_4bit

    # In rows of one block, which is the same packing: bitsandbytes 0.50 on the CPU is wrong for
    # rows shorter than that.
    rows = weight.reshape(-1, BLOCK) if weight.numel() % BLOCK == 0 else weight
    return quantize_4bit(rows, blocksize=BLOCK, compress_statistics=True, quant_type="nf4")


_PACK = {8: _pack8, 4: _pack4}


class _Product(torch.autograd.Function):
    """x Wᵀ + b with a frozen W that is unpacked anew in each direction: nothing is kept for the
    backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, unpack: Callable[[torch.dtype], Tensor]
    ) -> Tensor:
        ctx.unpack = unpack
        return functional.linear(x, unpack(x.dtype), None if bias is None else bias.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient @ ctx.unpack(gradient.dtype), None, None


def _product(x: Tensor, weight: Packed, bias: Tensor | None = None) -> Tensor:
    if not x.is_meta and torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    return _Product.apply(x, bias, weight.unpack)


def pack(model: nn.Module, bits: int) -> None:
    """Packs the weight of every `nn.Linear` in `model`, in place; embeddings and layer norms stay
    as they are."""
    if bits not in BITS:
        raise ValueError(f"{bits} bits: one of {BITS}")
    linears = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not linears[0].weight.is_meta and not find_spec("bitsandbytes"):
        raise XittError(
            f"an encoder in {bits} bits needs the package bitsandbytes: pip install"
            " 'adapters-xitt[quant]'"
        )
    for layer in linears:
        layer.weight = Packed.of(layer.weight.detach(), bits)


class CutTable(nn.Embedding):
    """A word table that keeps the rows of some ids only; rows and their order are invisible
    outside."""

    def __init__(self, table: nn.Embedding, ids: Tensor) -> None:
        ids = torch.unique(ids.cpu().long())  # sorted
        if int(ids[0]) < 0 or int(ids[-1]) >= table.num_embeddings:
            raise ValueError(
                f"ids from {int(ids[0])} to {int(ids[-1])}; the table has {table.num_embeddings}"
                " rows"
            )
        device = table.weight.device
        super().__init__(
            len(ids), table.embedding_dim, _weight=table.weight.detach()[ids.to(device)]
        )
        row_of = torch.full((table.num_embeddings,), -1, dtype=torch.int32, device="cpu")
        row_of[ids] = torch.arange(len(ids), dtype=torch.int32, device="cpu")
        self.row_of: Tensor
        self.register_buffer("row_of", row_of.to(device), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """[sequences, tokens] to [sequences, tokens, width]; an id that was cut away is an error,
        never another id's row."""
        rows = self.row_of[ids]
        # -1 would be a device-side assertion without a name
        if not rows.is_meta and bool((rows < 0).any()):
            gone = torch.unique(ids[rows < 0]).tolist()
            raise XittError(
                f"the word table was cut to {self.num_embeddings} ids and has no row for {gone[:5]}"
                f"{' …' if len(gone) > 5 else ''}: it was cut for other data; load the encoder anew"
            )
        return super().forward(rows)


class HostTable(nn.Embedding):
    """A word table that stays on the CPU: rows are looked up there and sent to where the ids
    are."""

    def __init__(self, table: nn.Embedding) -> None:
        rows, width = table.weight.shape
        super().__init__(rows, width, _weight=table.weight.detach())

    def _apply(self, fn: Callable, recurse: bool = True) -> HostTable:
        return self  # no device, no dtype: it is what it was made of

    def forward(self, ids: Tensor) -> Tensor:
        """[sequences, tokens] to [sequences, tokens, width], on the device of `ids`."""
        return super().forward(ids.to(self.weight.device)).to(ids.device)
