"""The methods, one row each: what is trained, by which library, in which modes, with which
options."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters_xitt.errors import Problems, XittError, unknown

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
MOST = 4096  # that an option which is a size may be: as wide as the widest XLM-R, and then some

# Linear layers of a transformer layer that a low-rank update may go into: the path of each in its
# layer, and how wide it reads and writes, from the encoder's width and its feed-forward width.
PLACES: dict[str, tuple[str, Callable[[int, int], tuple[int, int]]]] = {
    "query": ("attention.self.query", lambda width, wide: (width, width)),
    "key": ("attention.self.key", lambda width, wide: (width, width)),
    "value": ("attention.self.value", lambda width, wide: (width, width)),
    "attention": ("attention.output.dense", lambda width, wide: (width, width)),
    "up": ("intermediate.dense", lambda width, wide: (width, wide)),
    "down": ("output.dense", lambda width, wide: (wide, width)),
}

# parameters, from options, width and feed-forward width
Count = Callable[[Mapping[str, Any], int, int], int]


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to adapt an encoder."""

    name: str
    about: str
    engine: str  # adapters | peft | full | head | fusion | weights: who builds and runs it
    modes: tuple[str, ...]  # the modes it has; the others are not applicable
    learning_rate: float
    options: Mapping[str, Any] = field(default_factory=dict)  # option -> default
    # whether a fresh module leaves the encoder's outputs as they were, to rounding
    silent: bool = True
    config: str = ""  # the library's configuration class
    fields: Mapping[str, str] = field(default_factory=dict)  # our option -> the library's
    # the library's fields that the method fixes
    constants: Mapping[str, Any] = field(default_factory=dict)
    # parameters trained in one adapted layer; None: every weight of the encoder
    per_layer: Count | None = None
    beside: Count = lambda options, width, wide: 0  # parameters trained outside the layers
    blocks: int = 1  # bottlenecks in one layer: a fusion has as many
    above: str = ""  # the method of a module stacked above one of this; empty: the same
    no_library: str = ""  # why neither library has a form of such a module; empty: one has


def _bottleneck(options: Mapping[str, Any], width: int, wide: int) -> int:
    inner = max(width // options["reduction"], 1)
    return (2 * width + 1) * inner + width


def _update(options: Mapping[str, Any], width: int, wide: int) -> int:
    return options["rank"] * sum(sum(PLACES[place][1](width, wide)) for place in options["places"])


def _magnitudes(options: Mapping[str, Any], width: int, wide: int) -> int:
    return sum(PLACES[place][1](width, wide)[1] for place in options["places"])


def _inverse(options: Mapping[str, Any], width: int, wide: int) -> int:
    """NICE (Dinh et al. 2015): two half-width networks with a bottleneck of half their width."""
    first, second = width // 2, width - width // 2
    inner = [max(size // 2, 1) for size in (second, first)]
    return sum(
        (a + 1) * b + (b + 1) * c
        for a, b, c in ((second, inner[0], first), (first, inner[1], second))
    )


def _compact(options: Mapping[str, Any], width: int, wide: int) -> int:
    """Two adapters, each two sums of Kronecker products with factors of rank one, and their
    biases."""
    inner = width // options["reduction"]
    return 2 * (2 * (width + inner) + inner + width)


_BN = {"reduction": "reduction_factor", "dropout": "dropout", "leave_out": "leave_out"}
_LOW = {"rank": "r", "alpha": "lora_alpha", "dropout": "lora_dropout"}
_UPDATE = {"rank": 8, "alpha": 8, "places": ("query", "value"), "dropout": 0.0, "leave_out": ()}
_STACKS = ("none", "sequential", "stack", "fuse", "lang")
_SUMS = ("none", "sequential", "sum", "fuse", "lang")

METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        Method(
            name="seq_bn",
            about="bottleneck after each feed-forward block (Pfeiffer et al. 2020)",
            engine="adapters",
            modes=_STACKS,
            learning_rate=1e-4,
            options={"reduction": 16, "dropout": 0.0, "leave_out": ()},
            silent=False,  # N(0, 0.02) weights: small, not zero
            config="SeqBnConfig",
            fields=_BN,
            per_layer=_bottleneck,
        ),
        Method(
            name="double_seq_bn",
            about="bottlenecks after each attention and feed-forward block (Houlsby et al. 2019)",
            engine="adapters",
            modes=_STACKS,
            learning_rate=1e-4,
            options={"reduction": 16, "dropout": 0.0, "leave_out": ()},
            silent=False,
            config="DoubleSeqBnConfig",
            blocks=2,
            fields=_BN,
            per_layer=lambda options, width, wide: 2 * _bottleneck(options, width, wide),
        ),
        Method(
            name="par_bn",
            about="bottleneck beside each feed-forward block (He et al. 2021)",
            engine="adapters",
            modes=("none", "sequential"),
            learning_rate=1e-4,
            options={"reduction": 2, "dropout": 0.0, "leave_out": ()},
            config="ParBnConfig",
            fields=_BN,
            per_layer=_bottleneck,
        ),
        Method(
            name="seq_bn_inv",
            about=(
                "seq_bn with an invertible module at the embeddings, for language modules (MAD-X)"
            ),
            engine="adapters",
            modes=("none", "sequential", "stack", "lang"),
            learning_rate=1e-4,
            options={"reduction": 16, "dropout": 0.0, "leave_out": ()},
            silent=False,
            config="SeqBnInvConfig",
            fields=_BN,
            per_layer=_bottleneck,
            beside=_inverse,
            above="seq_bn",  # the library runs the invertible module of the first of a stack only
        ),
        Method(
            name="compacter",
            about=(
                "bottlenecks of Kronecker products that share their small factor (Karimi Mahabadi"
                " et al. 2021)"
            ),
            engine="adapters",
            modes=_STACKS,
            learning_rate=3e-3,
            options={"reduction": 32, "factors": 4, "dropout": 0.0, "leave_out": ()},
            config="CompacterConfig",
            blocks=2,
            fields={**_BN, "factors": "phm_dim"},
            per_layer=_compact,
            beside=lambda options, width, wide: options["factors"] ** 3,
        ),
        Method(
            name="ia3",
            about=(
                "learned scalings of keys, values and feed-forward activations ((IA)³, Liu et al."
                " 2022)"
            ),
            engine="adapters",
            modes=("none", "sequential", "stack", "lang"),
            learning_rate=5e-3,
            options={"leave_out": ()},
            config="IA3Config",
            fields={"leave_out": "leave_out"},
            constants={"attn_matrices": ["k", "v"]},
            per_layer=lambda options, width, wide: 2 * width + wide,
        ),
        Method(
            name="lora",
            about="low-rank updates of weight matrices (Hu et al. 2021)",
            engine="peft",
            modes=_SUMS,
            learning_rate=2e-4,
            options=_UPDATE,
            config="LoraConfig",
            fields=_LOW,
            per_layer=_update,
        ),
        Method(
            name="rslora",
            about="LoRA scaled by alpha over the root of its rank (Kalajdzievski 2023)",
            engine="peft",
            modes=_SUMS,
            learning_rate=2e-4,
            options=_UPDATE,
            config="LoraConfig",
            fields=_LOW,
            constants={"use_rslora": True},
            per_layer=_update,
        ),
        Method(
            name="dora",
            about=(
                "LoRA on the direction of each weight column, with a learned magnitude (Liu et al."
                " 2024)"
            ),
            engine="peft",
            modes=("none", "sequential"),
            learning_rate=2e-4,
            options=_UPDATE,
            config="LoraConfig",
            fields=_LOW,
            constants={"use_dora": True},
            per_layer=lambda options, width, wide: (
                _update(options, width, wide) + _magnitudes(options, width, wide)
            ),
        ),
        Method(
            name="pissa",
            about="LoRA that starts at the principal components of the weights (Meng et al. 2024)",
            engine="peft",
            modes=_SUMS,
            learning_rate=2e-4,
            options=_UPDATE,
            config="LoraConfig",
            fields=_LOW,
            per_layer=_update,
        ),
        Method(
            name="full",
            about="every weight of the encoder: the baseline that people compare with",
            engine="full",
            modes=("none", "sequential"),
            learning_rate=1e-5,
            no_library="it is every weight of an encoder and no adapter",
        ),
        Method(
            name="head",
            about="the raw encoder under a trained head: what its own features are worth",
            engine="head",
            modes=("none",),
            learning_rate=1e-3,
            per_layer=lambda options, width, wide: 0,
            no_library=(
                "it puts nothing into the encoder, and the libraries save a head beside an adapter"
                " only"
            ),
        ),
    )
}

# What mode `fuse` trains over frozen modules; made by the mode, never chosen by itself.
FUSIONS: dict[str, Method] = {
    row.name: row
    for row in (
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
            per_layer=lambda options, width, wide: (
                options["blocks"] * (3 * width * width + 2 * width)
            ),
        ),
        Method(
            name="weights",
            about="one learned weight per layer, place and low-rank update: W + Σ wᵢ ΔWᵢ",
            engine="weights",
            modes=(),
            learning_rate=5e-3,
            options={"places": ("query", "value"), "leave_out": (), "parts": 2},
            silent=False,
            per_layer=lambda options, width, wide: len(options["places"]) * options["parts"],
            no_library=(
                "the libraries have no learned weights of updates; `xitt compose … --save NAME`"
                " makes one LoRA of it, which has a form"
            ),
        ),
    )
}


@dataclass(frozen=True)
class Choice:
    """A method with its options filled in."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def row(self) -> Method:
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
            f"{name}={value}" for name, value in self.options if value != self.row.options[name]
        ]
        return self.name + (f"({', '.join(changed)})" if changed else "")

    @property
    def scaling(self) -> float:
        """What a low-rank update is multiplied with: alpha / rank, or its root."""
        rank = math.sqrt(self["rank"]) if self.row.constants.get("use_rslora") else self["rank"]
        return self["alpha"] / rank

    def adapted(self, layers: int) -> tuple[int, ...]:
        """The layers, of `layers` in all, in which this method puts something."""
        if self.row.engine == "head":
            return ()
        left_out = dict(self.options).get("leave_out", ())
        return tuple(layer for layer in range(layers) if layer not in left_out)

    def within(self, layers: int) -> Choice:
        """The choice in an encoder of `layers` layers: those to be left out that it hasn't are
        none."""
        return Choice(
            self.name,
            tuple(
                (
                    option,
                    (
                        tuple(layer for layer in value if layer < layers)
                        if option == "leave_out"
                        else value
                    ),
                )
                for option, value in self.options
            ),
        )

    def parameters(self, width: int, wide: int, layers: int, whole: int) -> int:
        """Parameters trained in an encoder of `layers` layers, `width` and feed-forward width
        `wide`, and `whole` parameters in all; the head's come on top."""
        if self.row.per_layer is None:
            return whole
        options, adapted = dict(self.options), len(self.adapted(layers))
        return self.row.per_layer(options, width, wide) * adapted + self.row.beside(
            options, width, wide
        )


def choose(name: str, options: Mapping[str, Any]) -> Choice:
    """The method `name` with `options` over its defaults; a `XittError` that names every option
    that is wrong."""
    if name not in METHODS:
        raise XittError(unknown("method", name, METHODS))
    return _plain(_chosen(METHODS[name], options))


def recorded(record: Mapping[str, Any]) -> Choice:
    """The choice whose `record()` this is; also that of a fusion."""
    name, options = (
        record.get("name"),
        {key: value for key, value in record.items() if key != "name"},
    )
    if not isinstance(name, str):
        raise XittError(f"method: its name is needed; one of {', '.join((*METHODS, *FUSIONS))}")
    return _chosen(FUSIONS[name], options) if name in FUSIONS else choose(name, options)


def _chosen(row: Method, options: Mapping[str, Any]) -> Choice:
    problems, chosen = Problems(f"method {row.name}"), dict(row.options)
    for option, value in options.items():
        if option not in row.options:
            problems.add(unknown("option", option, row.options))
            continue
        problem = _problem(option, value)
        if problem:
            problems.add(f"{option}: {problem}, not {value!r}")
        chosen[option] = tuple(value) if isinstance(value, list) else value
    problems.raise_if_any()
    return Choice(row.name, tuple(chosen.items()))


def _plain(choice: Choice) -> Choice:
    """The choice with its options in one spelling: 0 for 0.0, and lists in order."""

    def plain(option: str, value: Any) -> Any:
        if option == "dropout":
            return float(value)
        if option == "leave_out":
            return tuple(sorted(set(value)))
        return tuple(place for place in PLACES if place in value) if option == "places" else value

    return Choice(
        choice.name, tuple((option, plain(option, value)) for option, value in choice.options)
    )


def _problem(option: str, value: Any) -> str | None:
    """What `option` must be, where `value` isn't."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    listed = isinstance(value, (list, tuple))
    if option in ("reduction", "rank", "alpha", "factors", "parts", "blocks") and not (
        whole and 0 < value <= MOST
    ):
        return f"must be a positive whole number, {MOST:,} at most"
    if option == "dropout" and not (isinstance(value, (int, float)) and 0 <= value < 1):
        return "must be a share from 0 to below 1"
    if option == "leave_out" and not (
        listed and all(type(layer) is int and 0 <= layer < MOST for layer in value)
    ):
        return "must be a list of layer numbers, 0 first"
    if option == "places" and not (
        listed
        and value
        and all(isinstance(place, str) and place in PLACES for place in value)
        and len(set(value)) == len(value)
    ):
        return f"must be a list without repeats out of {', '.join(PLACES)}"
    return None


def block(choice: Choice) -> str:
    """How a module goes together with a frozen one: stacked above it, or summed with it."""
    return "sum" if choice.row.engine == "peft" else "stack"


def above(choice: Choice) -> Choice:
    """The method of a fresh module stacked above one of `choice`: its own, or the plain one it is
    made for."""
    if not choice.row.above:
        return choice
    row = METHODS[choice.row.above]
    return Choice(
        row.name,
        tuple((name, dict(choice.options).get(name, value)) for name, value in row.options.items()),
    )


def fusion_of(choice: Choice, parts: int) -> Choice:
    """What mode `fuse` trains over `parts` modules of a method."""
    leave_out = dict(choice.options).get("leave_out", ())
    if choice.row.engine == "peft":
        return Choice(
            "weights", (("places", choice["places"]), ("leave_out", leave_out), ("parts", parts))
        )
    return Choice("fusion", (("leave_out", leave_out), ("blocks", choice.row.blocks)))


def not_applicable(method: Method, mode: str) -> str | None:
    """Why a method has no such mode; None where it has."""
    if mode in method.modes:
        return None
    if method.name == "dora":
        return "magnitudes of several DoRAs do not add up to one update; use sequential, or lora"
    if method.engine == "full":
        return (
            "a fully fine-tuned encoder is no module that another could be put above, beside or"
            " over"
        )
    if method.engine == "head":
        return "the head alone leaves nothing in the encoder to carry over"
    if mode == "lang":
        mode = "sum" if method.engine == "peft" else "stack"
    reasons = {
        (
            "peft",
            "stack",
        ): "low-rank updates do not stack: the library's form multiplies them; use sum",
        (
            "adapters",
            "sum",
        ): "these modules are not updates of one weight matrix and do not add; use stack",
        ("adapters", "fuse"): (
            {
                "seq_bn_inv": (
                    "the library's fusion runs the invertible module of its first part for all;"
                    " fuse seq_bn"
                ),
                "ia3": "the library fuses bottlenecks only",
                "par_bn": (
                    "the library's fusion of twins beside a block is not the twin; fuse seq_bn or"
                    " double_seq_bn"
                ),
            }.get(method.name, "")
        ),
        ("adapters", "stack"): (
            "of two bottlenecks beside a block the library's stack keeps the upper one only; use "
            "seq_bn or double_seq_bn"
        ),
    }
    return reasons.get((method.engine, mode)) or f"{method.name} has no mode {mode}"
