"""Methods of `adapters`: small networks in the layers, and what they put elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from adapters_xitt.modules.methods.method import Method, Options, Shapes

NO_SUM = "these modules are not updates of one weight matrix and do not add; use stack"
_FIELDS = {"reduction": "reduction_factor", "dropout": "dropout", "leave_out": "leave_out"}
_BOTTLENECK = {"reduction": 16, "dropout": 0.0, "leave_out": ()}


def _linear_pair(options: Options, width: int) -> Shapes:
    """Down and up again, each a weight and a bias."""
    inner = max(width // options["reduction"], 1)
    return {
        "adapter_down.0.weight": (inner, width),
        "adapter_down.0.bias": (inner,),
        "adapter_up.weight": (width, inner),
        "adapter_up.bias": (width,),
    }


def _kronecker_pair(options: Options, width: int) -> Shapes:
    """Down and up again, each a sum of Kronecker products whose second factors have rank one."""
    inner, factors = max(width // options["reduction"], 1), options["factors"]
    shapes: Shapes = {}
    for name, reads, writes in (("adapter_down.0", width, inner), ("adapter_up", inner, width)):
        shapes[f"{name}.W_left"] = (factors, reads // factors, 1)
        shapes[f"{name}.W_right"] = (factors, 1, writes // factors)
        shapes[f"{name}.b"] = (writes,)
    return shapes


def _bottlenecks(
    sites: tuple[str, ...],
    *,
    pair: Callable[[Options, int], Shapes] = _linear_pair,
    refusals: Mapping[str, str] | None = None,
    **fields: Any,
) -> Method:
    """A method that puts a bottleneck at each of these sites of a layer."""

    def layer_tensors(options: Options, width: int, wide: int) -> Shapes:
        return {
            f"{site}.adapters.{name}": shape
            for site in sites
            for name, shape in pair(options, width).items()
        }

    return Method(
        **{
            "engine": "adapters",
            "modes": ("none", "sequential", "stack", "fuse", "lang"),
            "learning_rate": 1e-4,
            "options": _BOTTLENECK,
            "silent": False,  # N(0, 0.02) weights: small, not zero
            "fields": _FIELDS,
            "sites": sites,
            "layer_tensors": layer_tensors,
            "refusals": {"sum": NO_SUM, **(refusals or {})},
            **fields,
        }
    )


def _nice(options: Options, width: int, wide: int) -> Shapes:
    """NICE (Dinh et al. 2015): two networks between the halves, with bottlenecks of half their
    width."""
    shapes: Shapes = {}
    first, second = width // 2, width - width // 2
    for network, reads, writes in (("F", second, first), ("G", first, second)):
        inner = max(reads // 2, 1)
        shapes[f"invertible_adapters.{network}.0.weight"] = (inner, reads)
        shapes[f"invertible_adapters.{network}.0.bias"] = (inner,)
        shapes[f"invertible_adapters.{network}.2.weight"] = (writes, inner)
        shapes[f"invertible_adapters.{network}.2.bias"] = (writes,)
    return shapes


def _factors_misfit(options: Options, width: int) -> str:
    """Why a width can't be had in Kronecker products; empty where it can."""
    factors, inner = options["factors"], width // options["reduction"]
    if width % factors == 0 and inner % factors == 0 and width >= options["reduction"]:
        return ""
    return (
        f"factors must divide the encoder's width, {width}, and that over reduction, {inner};"
        " write a smaller reduction"
    )


def _scalings(options: Options, width: int, wide: int) -> Shapes:
    """One number for each key, value and feed-forward activation."""
    return {
        "attention.self.key.loras.lora_B": (width, 1),
        "attention.self.value.loras.lora_B": (width, 1),
        "intermediate.dense.loras.lora_B": (wide, 1),
    }


BOTTLENECKS = (
    _bottlenecks(
        ("output",),
        name="seq_bn",
        about="bottleneck after each feed-forward block (Pfeiffer et al. 2020)",
        config="SeqBnConfig",
        splits_batches=True,
    ),
    _bottlenecks(
        ("attention.output", "output"),
        name="double_seq_bn",
        about="bottlenecks after each attention and feed-forward block (Houlsby et al. 2019)",
        config="DoubleSeqBnConfig",
        splits_batches=True,
    ),
    _bottlenecks(
        ("output",),
        name="par_bn",
        about="bottleneck beside each feed-forward block (He et al. 2021)",
        modes=("none", "sequential"),
        options={"reduction": 2, "dropout": 0.0, "leave_out": ()},
        silent=True,
        config="ParBnConfig",
        bottom_only=(
            "a bottleneck beside a block makes the library's stack forget what lies below it"
        ),
        refusals={
            "stack": (
                "of two bottlenecks beside a block the library's stack keeps the upper one only;"
                " use seq_bn or double_seq_bn"
            ),
            "fuse": (
                "the library's fusion of twins beside a block is not the twin; fuse seq_bn or"
                " double_seq_bn"
            ),
        },
    ),
    _bottlenecks(
        ("output",),
        name="seq_bn_inv",
        about="seq_bn with an invertible module at the embeddings, for language modules (MAD-X)",
        modes=("none", "sequential", "stack", "lang"),
        config="SeqBnInvConfig",
        shared_tensors=_nice,
        before_layers=True,
        above="seq_bn",
        bottom_only="the library runs the invertible module of the first of a stack only",
        refusals={
            "fuse": (
                "the library's fusion runs the invertible module of its first part for all;"
                " fuse seq_bn"
            )
        },
    ),
    _bottlenecks(
        ("attention.output", "output"),
        pair=_kronecker_pair,
        name="compacter",
        about=(
            "bottlenecks of Kronecker products that share their small factor (Karimi Mahabadi"
            " et al. 2021)"
        ),
        learning_rate=3e-3,
        options={"reduction": 32, "factors": 4, "dropout": 0.0, "leave_out": ()},
        silent=True,
        config="CompacterConfig",
        fields={**_FIELDS, "factors": "phm_dim"},
        shared_tensors=lambda options, width, wide: {
            "shared_parameters.phm_rule": (options["factors"],) * 3
        },
        misfit=_factors_misfit,
    ),
    Method(
        name="ia3",
        about=(
            "learned scalings of keys, values and feed-forward activations ((IA)³, Liu et al. 2022)"
        ),
        engine="adapters",
        modes=("none", "sequential", "stack", "lang"),
        learning_rate=5e-3,
        options={"leave_out": ()},
        config="IA3Config",
        fields={"leave_out": "leave_out"},
        constants={"attn_matrices": ["k", "v"]},
        layer_tensors=_scalings,
        refusals={"sum": NO_SUM, "fuse": "the library fuses bottlenecks only"},
    ),
)
