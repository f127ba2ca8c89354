"""What a method is: the record that each has one of, and the words that records are made of.

Everything that differs between methods is a field or a function of their rows; nobody asks for a
method by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# How an intermediate module takes part in a target: DESIGN "Science".
MODES = {
    "none": "the target's module alone; the encoder as it is for retrieval",
    "sequential": "the intermediate's own module, trained on for the target",
    "stack": "the intermediate's module frozen below a fresh one",
    "sum": (
        "the intermediate's low-rank update frozen beside a fresh one, both added to the weights"
    ),
    "fuse": "every intermediate's module and the target's own, all frozen, under a trained fusion",
    "lang": "the target's module above a language's, which each test language swaps for its own",
}
COMPOSED = "composed"  # the mode of a row that a recipe writes as an expression

LARGEST = 4096  # that an option which is a size may be: as wide as the widest XLM-R, and then some
START = ".start."  # in the names of tensors that a module keeps of its start and never trains

# Where bottlenecks may stand in a layer, by the number that a fusion's option `blocks` has for it:
# those over modules of one method stand where these do.
SITES: dict[int, tuple[str, ...]] = {
    1: ("output",),
    2: ("attention.output", "output"),
    3: ("attention.output",),
}

Options = Mapping[str, Any]
Shapes = dict[str, tuple[int, ...]]  # a tensor's name → its shape
# tensors, from options, the encoder's width and its feed-forward width
Tensors = Callable[[Options, int, int], Shapes]


def no_tensors(options: Options, width: int, wide: int) -> Shapes:
    """None at all."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to adapt an encoder."""

    name: str
    about: str
    engine: str  # a key of model.engines.ENGINES: who builds and runs it
    modes: tuple[str, ...]  # the modes it has; the others are not applicable
    learning_rate: float
    options: Options = field(default_factory=dict)  # option → default

    # -- its tensors
    # in one adapted layer, by their names in it; None: every weight of the encoder
    layer_tensors: Tensors | None = no_tensors
    shared_tensors: Tensors = no_tensors  # outside the layers
    # why options can't be had in an encoder of a width; empty where they can
    misfit: Callable[[Options, int], str] = lambda options, width: ""
    drawn: bool = True  # whether the values of a fresh module are drawn
    # whether a fresh module leaves the encoder's outputs as they were, to rounding
    silent: bool = True
    # whether it starts at a part of the weights, which is taken away beside it: its `.start.`
    keeps_start: bool = False
    reads_weights: bool = False  # whether it reads or trains the encoder's, which can't be packed

    # -- what it composes with
    refusals: Mapping[str, str] = field(default_factory=dict)  # mode → why it has it not
    # whether it is an update of weights: several add up to one, and a number may stand before it
    adds_up: bool = False
    above: str = ""  # the method of a module stacked above one of this; empty: the same
    # why it may stand at the bottom of a stack only; empty: it may stand above others
    bottom_only: str = ""
    before_layers: bool = False  # whether it acts on what enters the first layer, too
    sites: tuple[str, ...] = ()  # where its bottlenecks stand in a layer: a value of SITES
    splits_batches: bool = False  # whether a batch may be split over several of it, exactly

    # -- the libraries
    config: str = ""  # the library's configuration class
    fields: Mapping[str, str] = field(default_factory=dict)  # our option → the library's
    # the library's fields that the method fixes
    constants: Mapping[str, Any] = field(default_factory=dict)
    not_in_adapters: str = ""  # why `adapters` has no form of a low-rank method; empty: it has
    no_library: str = ""  # why neither library has a form of such a module; empty: one has

    @property
    def trains_encoder(self) -> bool:
        """Whether it trains every weight of the encoder."""
        return self.layer_tensors is None

    @property
    def is_bottleneck(self) -> bool:
        """Whether its modules are those of `adapters`: they stack."""
        return self.engine == "adapters"

    @property
    def is_update(self) -> bool:
        """Whether its modules are low-rank updates of weights, those of `peft`."""
        return self.engine == "peft"

    @property
    def is_empty(self) -> bool:
        """Whether it puts nothing into the encoder."""
        return self.layer_tensors is no_tensors

    @property
    def fuses_bottlenecks(self) -> bool:
        """Whether it weights bottlenecks token by token, and runs over them only."""
        return self.engine == "fusion"

    @property
    def fuses_updates(self) -> bool:
        """Whether it weights low-rank updates, and runs over them only."""
        return self.engine == "weights"

    @property
    def is_fusion(self) -> bool:
        """Whether it weights other modules, and runs over them only."""
        return self.fuses_bottlenecks or self.fuses_updates

    def configuration(self, options: Options) -> dict[str, Any]:
        """The fields of the library's configuration, lists where we have tuples."""
        given = {theirs: options[ours] for ours, theirs in self.fields.items()}
        lists = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in given.items()
        }
        return {**self.constants, **lists}

    def refusal(self, mode: str) -> str | None:
        """Why it has no such mode; None where it has."""
        if mode in self.modes:
            return None
        if mode == "lang":  # a language's module goes below or beside
            mode = "sum" if self.is_update else "stack"
        return self.refusals.get(mode) or f"{self.name} has no mode {mode}"
