"""What mode `fuse` trains over frozen modules; made by the mode, never chosen by itself."""

from __future__ import annotations

from adapters_xitt.modules.methods.method import SITES, Method, Options, Shapes


def _attention(options: Options, width: int, wide: int) -> Shapes:
    """Queries, keys and values at every site where its parts have a bottleneck."""
    shapes: Shapes = {}
    for site in SITES[options["blocks"]]:
        for name in ("query", "key", "value"):
            shapes[f"{site}.adapter_fusion_layer.{name}.weight"] = (width, width)
        for name in ("query", "key"):
            shapes[f"{site}.adapter_fusion_layer.{name}.bias"] = (width,)
    return shapes


FUSION_METHODS = (
    Method(
        name="fusion",
        about=(
            "attention over bottlenecks, token by token and layer by layer (AdapterFusion,"
            " Pfeiffer et al. 2021)"
        ),
        engine="fusion",
        modes=(),
        learning_rate=5e-5,
        options={"leave_out": (), "blocks": 1},
        silent=False,
        layer_tensors=_attention,
    ),
    Method(
        name="weights",
        about="one learned weight per layer, place and low-rank update: W + Σ wᵢ ΔWᵢ",
        engine="weights",
        modes=(),
        learning_rate=5e-3,
        options={"places": ("query", "value"), "leave_out": (), "parts": 2},
        silent=False,
        drawn=False,
        # rows of the one tensor that all layers have
        layer_tensors=lambda options, width, wide: {
            "weights": (len(options["places"]), options["parts"])
        },
        no_library=(
            "the libraries have no learned weights of updates; `xitt compose … --save NAME` makes"
            " one LoRA of it, which has a form"
        ),
    ),
)
