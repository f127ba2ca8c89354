"""A method with its options filled in, checked, and what is asked of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters_xitt.errors import Problems, XittError, unknown
from adapters_xitt.modules.methods.low_rank import TARGET_MODULES
from adapters_xitt.modules.methods.method import LARGEST, SITES, START, Method, Shapes
from adapters_xitt.modules.methods.table import FUSIONS, METHODS


@dataclass(frozen=True)
class Choice:
    """A method with its options filled in."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def spec(self) -> Method:
        return METHODS[self.name] if self.name in METHODS else FUSIONS[self.name]

    def __getitem__(self, option: str) -> Any:
        return dict(self.options)[option]

    def record(self) -> dict[str, Any]:
        """The choice as JSON, for keys and manifests."""
        plain = {
            name: list(value) if isinstance(value, tuple) else value for name, value in self.options
        }
        return {"name": self.name, **plain}

    @property
    def label(self) -> str:
        """The name, with those options that are not the defaults."""
        changed = [
            f"{name}={_shown(value)}"
            for name, value in self.options
            if value != self.spec.options[name]
        ]
        return self.name + (f"({', '.join(changed)})" if changed else "")

    @property
    def scaling(self) -> float:
        """What a low-rank update is multiplied with: alpha / rank, or its root."""
        rank = math.sqrt(self["rank"]) if self.spec.constants.get("use_rslora") else self["rank"]
        return self["alpha"] / rank

    @property
    def sites(self) -> tuple[str, ...]:
        """Where its bottlenecks, or those that it fuses, stand in a layer."""
        blocks = dict(self.options).get("blocks")
        return SITES[blocks] if blocks else self.spec.sites

    def adapted(self, layers: int) -> tuple[int, ...]:
        """The layers, of `layers` in all, in which this method puts something."""
        if self.spec.is_empty:
            return ()
        left_out = dict(self.options).get("leave_out", ())
        return tuple(layer for layer in range(layers) if layer not in left_out)

    def within(self, layers: int) -> Choice:
        """The choice in an encoder of `layers` layers: those to be left out that it hasn't are
        none."""
        left_out = dict(self.options).get("leave_out")
        if left_out is None:
            return self
        return self.with_options(leave_out=tuple(layer for layer in left_out if layer < layers))

    def with_options(self, **changed: Any) -> Choice:
        """The same method with some options changed, unchecked."""
        options = tuple((name, changed.get(name, value)) for name, value in self.options)
        return Choice(self.name, options)

    def shapes(self, layers: int, width: int, wide: int) -> Shapes:
        """The names and shapes of a module's tensors in an encoder of so many layers, of that width
        and feed-forward width: those that `AdaptedEncoder.parameters` gives."""
        if self.spec.layer_tensors is None:
            raise ValueError(f"{self.name} has the encoder's own tensors")
        options = dict(self.options)
        in_layer = self.spec.layer_tensors(options, width, wide)
        shapes: Shapes = {}
        for layer in self.adapted(layers):
            shapes |= {f"encoder.layer.{layer}.{name}": shape for name, shape in in_layer.items()}
        return {**shapes, **self.spec.shared_tensors(options, width, wide)}

    def parameters(self, width: int, wide: int, layers: int, whole: int) -> int:
        """Parameters trained in an encoder of `layers` layers, `width` and feed-forward width
        `wide`, and `whole` parameters in all; the head's come on top."""
        if self.spec.trains_encoder:
            return whole
        shapes = self.shapes(layers, width, wide)
        return sum(math.prod(shape) for name, shape in shapes.items() if START not in name)


def _shown(value: Any) -> str:
    """An option's value as people write it: layers in runs, "0-5"."""
    if not isinstance(value, tuple):
        return str(value)
    if not all(isinstance(item, int) for item in value):
        return "+".join(map(str, value))
    runs: list[list[int]] = []
    for number in value:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return "+".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def choose(name: str, options: Mapping[str, Any]) -> Choice:
    """The method `name` with `options` over its defaults; a `XittError` that names every option
    that is wrong."""
    if name not in METHODS:
        raise XittError(unknown("method", name, METHODS))
    return _one_spelling(_check_options(METHODS[name], options))


def from_record(record: Mapping[str, Any]) -> Choice:
    """The choice whose `record()` this is; also that of a fusion."""
    name = record.get("name")
    options = {key: value for key, value in record.items() if key != "name"}
    if not isinstance(name, str):
        raise XittError(f"method: its name is needed; one of {', '.join((*METHODS, *FUSIONS))}")
    return _check_options(FUSIONS[name], options) if name in FUSIONS else choose(name, options)


def _check_options(method: Method, options: Mapping[str, Any]) -> Choice:
    problems, chosen = Problems(f"method {method.name}"), dict(method.options)
    for option, value in options.items():
        if option not in method.options:
            problems.add(unknown("option", option, method.options))
            continue
        problem = _problem(option, value)
        if problem:
            problems.add(f"{option}: {problem}, not {value!r}")
        chosen[option] = tuple(value) if isinstance(value, list) else value
    problems.raise_if_any()
    return Choice(method.name, tuple(chosen.items()))


def _one_spelling(choice: Choice) -> Choice:
    """The choice with its options in one spelling: 0 for 0.0, and lists in order."""
    options = dict(choice.options)
    if "dropout" in options:
        options["dropout"] = float(options["dropout"])
    if "leave_out" in options:
        options["leave_out"] = tuple(sorted(set(options["leave_out"])))
    if "places" in options:
        options["places"] = tuple(name for name in TARGET_MODULES if name in options["places"])
    return Choice(choice.name, tuple(options.items()))


def _problem(option: str, value: Any) -> str | None:
    """What `option` must be, where `value` isn't."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    listed = isinstance(value, (list, tuple))
    if option in ("reduction", "rank", "alpha", "factors", "parts", "blocks") and not (
        whole and 0 < value <= LARGEST
    ):
        return f"must be a positive whole number, {LARGEST:,} at most"
    if option == "blocks" and value not in SITES:
        return f"must be one of {', '.join(map(str, SITES))}"
    if option == "dropout" and not (isinstance(value, (int, float)) and 0 <= value < 1):
        return "must be a share from 0 to below 1"
    if option == "leave_out" and not (
        listed and all(type(layer) is int and 0 <= layer < LARGEST for layer in value)
    ):
        return "must be a list of layer numbers, 0 first"
    if option == "places" and not (
        listed
        and value
        and all(isinstance(name, str) and name in TARGET_MODULES for name in value)
        and len(set(value)) == len(value)
    ):
        return f"must be a list without repeats out of {', '.join(TARGET_MODULES)}"
    return None


def block(choice: Choice) -> str:
    """How a module goes together with a frozen one: stacked above it, or summed with it."""
    return "sum" if choice.spec.is_update else "stack"


def above(choice: Choice) -> Choice:
    """The method of a fresh module stacked above one of `choice`: its own, or the plain one it is
    made for."""
    if not choice.spec.above:
        return choice
    method = METHODS[choice.spec.above]
    options = dict(choice.options)
    return Choice(
        method.name,
        tuple((name, options.get(name, value)) for name, value in method.options.items()),
    )


def fusion_of(choice: Choice, parts: int) -> Choice:
    """What mode `fuse` trains over `parts` modules of a method."""
    leave_out = dict(choice.options).get("leave_out", ())
    if choice.spec.is_update:
        return Choice(
            "weights", (("places", choice["places"]), ("leave_out", leave_out), ("parts", parts))
        )
    blocks = next((number for number, sites in SITES.items() if sites == choice.sites), 1)
    return Choice("fusion", (("leave_out", leave_out), ("blocks", blocks)))
