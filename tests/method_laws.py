"""The table of laws: a line for every method, of what must hold of it.

Whoever adds a method writes its line here; the laws themselves are in test_laws.py, and a method
without a line fails test_every_method_has_its_line there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from adapters_xitt.modules.methods import METHODS


@dataclass(frozen=True)
class Law:
    """What holds of a method. `config`: its configuration in the words of the library that runs
    it, without its size, written down apart from its row."""

    fresh: str  # "silent": changes nothing; "nearly silent": to rounding; "bounded": a little
    alone: str  # what a module is equal to: bottleneck | update | dora | full | head
    fuse: str = ""  # attention | weights; empty: can't be fused
    adds_up: bool = False  # several are their sum, a number before it is W + w·ΔW
    bottom_only: bool = False  # in a stack
    drawn: bool = True  # a random one has an effect
    config: tuple[str, dict[str, Any]] = ("", {})
    lr: float = 1e-2  # a rate at which a module of the pico encoder moves


LAWS = {
    "seq_bn": Law("bounded", "bottleneck", "attention", config=("SeqBnConfig", {})),
    "double_seq_bn": Law("bounded", "bottleneck", "attention", config=("DoubleSeqBnConfig", {})),
    "par_bn": Law("silent", "bottleneck", bottom_only=True, config=("ParBnConfig", {})),
    "seq_bn_inv": Law("bounded", "bottleneck", bottom_only=True, config=("SeqBnInvConfig", {})),
    "compacter": Law(
        "nearly silent",
        "bottleneck",
        "attention",
        config=("CompacterConfig", {"phm_dim": 2}),
        lr=5e-2,
    ),
    "ia3": Law("silent", "bottleneck", config=("IA3Config", {}), lr=5e-2),
    "lora": Law("silent", "update", "weights", adds_up=True),
    "rslora": Law("silent", "update", "weights", adds_up=True, config=("", {"use_rslora": True})),
    "dora": Law("silent", "dora", config=("", {"use_dora": True})),
    "pissa": Law("nearly silent", "update", "weights", adds_up=True, lr=3e-3),
    "full": Law("silent", "full", drawn=False, lr=1e-3),
    "head": Law("silent", "head", drawn=False),
}
# The methods that have both a row and a line.
WITH_LAWS = tuple(name for name in METHODS if name in LAWS)


def names(**wanted: Any) -> tuple[str, ...]:
    """The methods whose laws have these values."""
    return tuple(
        name
        for name in WITH_LAWS
        if all(getattr(LAWS[name], field) == value for field, value in wanted.items())
    )
