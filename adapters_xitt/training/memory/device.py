"""Makes layers on the meta device behave as on a device: its autocast and its attention kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# What CUDA's autocast runs in its own dtype and in fp32 (PyTorch, "CUDA Ops that can autocast"), of
# the functions that the encoder and both module libraries call; the CPU's has no fp32 layer norm.
_IN_LOWER_PRECISION = (
    functional.linear,
    functional.scaled_dot_product_attention,
    torch.matmul,
    torch.bmm,
    torch.Tensor.matmul,
    torch.Tensor.__matmul__,
    torch.Tensor.bmm,
    torch.einsum,
)
_IN_FULL_PRECISION = (
    functional.layer_norm,
    functional.softmax,
    torch.softmax,
    torch.Tensor.softmax,
    functional.log_softmax,
)


class _DeviceBehaviour(TorchFunctionMode):
    """Autocast and attention as on a device, for tensors on the meta device, which has neither of
    its own."""

    def __init__(self, device: str, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.cuda, self.dtype = device != "cpu", dtype

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.dtype and func in _IN_LOWER_PRECISION:
            args, kwargs = (
                _cast(args, self.dtype),
                dict(zip(kwargs, _cast(kwargs.values(), self.dtype), strict=True)),
            )
        elif self.dtype and self.cuda and func in _IN_FULL_PRECISION:
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
            assert attn_mask is not None, "the encoder always gives one"
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


def behave_as_on(device: str, dtype: torch.dtype | None, model: Any, head: nn.Module) -> None:
    """Runs the embeddings, each layer and the head in `_DeviceBehaviour`; each layer by itself: a
    checkpointed one runs again in the backward pass, inside which a mode around the whole would not
    act."""
    for module in (model.embeddings, *model.encoder.layer, head):

        def forward(*args: Any, _inner: Callable = module.forward, **kwargs: Any) -> Any:
            with _DeviceBehaviour(device, dtype):
                return _inner(*args, **kwargs)

        module.forward = forward
