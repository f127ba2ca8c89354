"""The methods, one row each: what is trained, by which library, in which modes, with which options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters_xitt.errors import Problems, XittError, unknown

# How an intermediate module takes part in a target: DESIGN "Science".
MODES = {
    "none": "the target's module alone; the encoder as it is for retrieval",
    "sequential": "the intermediate's own module, trained on for the target",
    "stack": "the intermediate's module frozen below a fresh one",
    "sum": "the intermediate's low-rank update frozen beside a fresh one, both added to the weights",
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to adapt an encoder."""

    name: str
    about: str
    engine: str  # adapters | peft | full | head: who builds and runs it
    modes: tuple[str, ...]  # the modes it has; the others are not applicable
    learning_rate: float
    options: Mapping[str, Any] = field(default_factory=dict)  # option -> default
    silent: bool = True  # whether a fresh module leaves the encoder's outputs as they were
    # parameters in one adapted layer, from the options and the encoder's width; None: every weight of the encoder
    per_layer: Callable[[Mapping[str, Any], int], int] | None = None


METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method(
            name="seq_bn",
            about="bottleneck after each feed-forward block (Pfeiffer et al. 2020)",
            engine="adapters",
            modes=("none", "sequential", "stack"),
            learning_rate=1e-4,
            options={"reduction": 16, "leave_out": ()},
            silent=False,  # N(0, 0.02) weights: small, not zero
            per_layer=lambda options, width: (2 * width + 1) * max(width // options["reduction"], 1) + width,
        ),
        Method(
            name="lora",
            about="low-rank updates of the query and value projections (Hu et al. 2021)",
            engine="peft",
            modes=("none", "sequential", "sum"),
            learning_rate=2e-4,
            options={"rank": 8, "alpha": 8, "places": ("query", "value"), "leave_out": ()},
            per_layer=lambda options, width: 2 * width * options["rank"] * len(options["places"]),
        ),
        Method(
            name="full",
            about="every weight of the encoder: the baseline that people compare with",
            engine="full",
            modes=("none", "sequential"),
            learning_rate=1e-5,
        ),
        Method(
            name="head",
            about="the raw encoder under a trained head: what its own features are worth",
            engine="head",
            modes=("none",),
            learning_rate=1e-3,
            per_layer=lambda options, width: 0,
        ),
    )
}

PLACES = ("query", "key", "value")


@dataclass(frozen=True)
class Choice:
    """A method with its options filled in."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def row(self) -> Method:
        return METHODS[self.name]

    def __getitem__(self, option: str) -> Any:
        return dict(self.options)[option]

    def record(self) -> dict[str, Any]:
        """The choice as JSON, for keys and manifests."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in self.options}
        return {"name": self.name, **plain}

    @property
    def label(self) -> str:
        """The name, with those options that are not the defaults."""
        changed = [f"{name}={value}" for name, value in self.options if value != self.row.options[name]]
        return self.name + (f"({', '.join(changed)})" if changed else "")

    def adapted(self, layers: int) -> tuple[int, ...]:
        """The layers, of `layers` in all, in which this method puts something."""
        if self.row.engine == "head":
            return ()
        left_out = dict(self.options).get("leave_out", ())
        return tuple(layer for layer in range(layers) if layer not in left_out)

    def parameters(self, width: int, layers: int, whole: int) -> int:
        """Parameters trained in an encoder of `whole` parameters; the head's come on top."""
        if self.row.per_layer is None:
            return whole
        return self.row.per_layer(dict(self.options), width) * len(self.adapted(layers))


def choose(name: str, options: Mapping[str, Any]) -> Choice:
    """The method `name` with `options` over its defaults; a `XittError` that names every option that is wrong."""
    if name not in METHODS:
        raise XittError(unknown("method", name, METHODS))
    row, problems, chosen = METHODS[name], Problems(f"method {name}"), dict(METHODS[name].options)
    for option, value in options.items():
        if option not in row.options:
            problems.add(unknown("option", option, row.options))
            continue
        problem = _problem(option, value)
        if problem:
            problems.add(f"{option}: {problem}, not {value!r}")
        chosen[option] = tuple(value) if isinstance(value, list) else value
    problems.raise_if_any()
    return Choice(name, tuple(chosen.items()))


def _problem(option: str, value: Any) -> str | None:
    """What `option` must be, where `value` isn't."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    listed = isinstance(value, (list, tuple))
    if option in ("reduction", "rank", "alpha") and not (whole and value > 0):
        return "must be a positive whole number"
    if option == "leave_out" and not (listed and all(isinstance(layer, int) and layer >= 0 for layer in value)):
        return "must be a list of layer numbers, 0 first"
    if option == "places" and not (listed and value and all(place in PLACES for place in value)
                                  and len(set(value)) == len(value)):
        return f"must be a list without repeats out of {', '.join(PLACES)}"
    return None


def not_applicable(method: Method, mode: str) -> str | None:
    """Why a method has no such mode; None where it has."""
    if mode in method.modes:
        return None
    reasons = {
        ("peft", "stack"): "low-rank updates do not stack: the library's form multiplies them; use sum",
        ("adapters", "sum"): "bottlenecks are not updates of one weight matrix and do not add; use stack",
        ("full", "stack"): "full fine-tuning has no module to put below another",
        ("full", "sum"): "full fine-tuning has no low-rank update to add",
        ("head", "sequential"): "the head alone leaves nothing in the encoder to carry over",
        ("head", "stack"): "the head alone leaves nothing in the encoder to carry over",
        ("head", "sum"): "the head alone leaves nothing in the encoder to carry over",
    }
    return reasons.get((method.engine, mode), f"{method.name} has no mode {mode}")
