"""Methods of `peft`: updates of weight matrices that are products of two thin ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from adapters_xitt.modules.methods.method import Method, Options, Shapes


class TargetModule(NamedTuple):
    """A linear layer of a transformer layer that an update may go into."""

    path: str  # in its layer
    # how wide it reads and writes, from the encoder's width and its feed-forward width
    sizes: Callable[[int, int], tuple[int, int]]


# By the names that the option `places` has for them.
TARGET_MODULES: dict[str, TargetModule] = {
    "query": TargetModule("attention.self.query", lambda width, wide: (width, width)),
    "key": TargetModule("attention.self.key", lambda width, wide: (width, width)),
    "value": TargetModule("attention.self.value", lambda width, wide: (width, width)),
    "attention": TargetModule("attention.output.dense", lambda width, wide: (width, width)),
    "up": TargetModule("intermediate.dense", lambda width, wide: (width, wide)),
    "down": TargetModule("output.dense", lambda width, wide: (wide, width)),
}
TARGET_OF_PATH = {target.path: name for name, target in TARGET_MODULES.items()}

NO_STACK = "low-rank updates do not stack: the library's form multiplies them; use sum"
_NO_SEVERAL = "magnitudes of several DoRAs do not add up to one update; use sequential, or lora"
_FIELDS = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}


def _factors(options: Options, reads: int, writes: int) -> Shapes:
    rank = options["rank"]
    return {"lora_A.weight": (rank, reads), "lora_B.weight": (writes, rank)}


def _factors_and_magnitude(options: Options, reads: int, writes: int) -> Shapes:
    return {**_factors(options, reads, writes), "lora_magnitude_vector.weight": (writes,)}


def _factors_and_start(options: Options, reads: int, writes: int) -> Shapes:
    shapes = _factors(options, reads, writes)
    start = {name.replace(".weight", ".start.weight"): shape for name, shape in shapes.items()}
    return {**shapes, **start}


def _updates(
    *,
    update: Callable[[Options, int, int], Shapes] = _factors,
    refusals: Mapping[str, str] | None = None,
    **fields: Any,
) -> Method:
    """A method that updates some of the target modules of a layer."""

    def layer_tensors(options: Options, width: int, wide: int) -> Shapes:
        shapes: Shapes = {}
        for name in options["places"]:
            target = TARGET_MODULES[name]
            for tensor, shape in update(options, *target.sizes(width, wide)).items():
                shapes[f"{target.path}.{tensor}"] = shape
        return shapes

    return Method(
        **{
            "engine": "peft",
            "modes": ("none", "sequential", "sum", "fuse", "lang"),
            "learning_rate": 2e-4,
            "options": {
                "rank": 8,
                "alpha": 8,
                "places": ("query", "value"),
                "dropout": 0.0,
                "leave_out": (),
            },
            "config": "LoraConfig",
            "fields": _FIELDS,
            "layer_tensors": layer_tensors,
            "adds_up": True,
            "refusals": {"stack": NO_STACK, **(refusals or {})},
            **fields,
        }
    )


UPDATES = (
    _updates(name="lora", about="low-rank updates of weight matrices (Hu et al. 2021)"),
    _updates(
        name="rslora",
        about="LoRA scaled by alpha over the root of its rank (Kalajdzievski 2023)",
        constants={"use_rslora": True},
        not_in_adapters="`adapters` scales by alpha over the rank only",
    ),
    _updates(
        update=_factors_and_magnitude,
        name="dora",
        about=(
            "LoRA on the direction of each weight column, with a learned magnitude (Liu et al."
            " 2024)"
        ),
        modes=("none", "sequential"),
        constants={"use_dora": True},
        adds_up=False,
        reads_weights=True,
        not_in_adapters=(
            "`adapters` computes DoRA otherwise: it scales the bias and takes the norm without"
            " alpha"
        ),
        refusals=dict.fromkeys(("stack", "sum", "fuse"), _NO_SEVERAL),
    ),
    _updates(
        update=_factors_and_start,
        name="pissa",
        about="LoRA that starts at the principal components of the weights (Meng et al. 2024)",
        keeps_start=True,
        reads_weights=True,
        not_in_adapters="it has no form there",
    ),
)
