"""One encoder with modules in its layers: mounted, activated as a lowered composition, trained,
taken out again."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from adapters_xitt.errors import XittError
from adapters_xitt.model.encoder import Encoder
from adapters_xitt.model.setup import AdapterSetup
from adapters_xitt.modules.methods import PLACES, Choice

# of the mount of PiSSA's frozen start, which takes the principal components back out
START = "_start"
# standard deviation of what makes a silent module random: that of the encoder's own initialisation
NOISE = 0.02
# methods whose modules the library runs exactly, each on some rows of a batch
SPLIT = ("seq_bn", "double_seq_bn")
REGULARISATION = 0.01  # of a fusion's value matrices towards the identity: AdapterFusion's own


class AdaptedEncoder:
    """One encoder, the modules in it, and which of them are active. A module's tensors are those a
    mount made: loading gives a new copy, nothing is ever merged into the encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.methods: dict[str, Choice] = {}
        self.over: dict[str, tuple[str, ...]] = {}  # fusion -> the modules it weights
        self._copies: dict[str, Encoder] = {}
        self._weights: dict[str, nn.Parameter] = {}
        # the parameters of each module in the encoder's layers
        self._walked: dict[str, dict[str, nn.Parameter]] = {}
        self._updated: list[tuple[int, str, Any]] = []  # layer, place and peft's layer there

    # -- in and out --------------------------------------------------------------------------------

    def mount(
        self,
        name: str,
        method: Choice,
        *,
        seed: int | None = None,
        random: bool = False,
        tensors: Mapping[str, Tensor] | None = None,
        over: Sequence[str] = (),
    ) -> None:
        """Puts a module into the encoder under `name`: fresh from `seed`, or with `tensors`, whose
        names and shapes must be exactly those of the method. `random` draws a module that has an
        effect though it is not trained; a fusion is mounted `over` modules that are there already,
        in the order it was trained in."""
        if name in self.methods:
            raise ValueError(f"{name} is mounted already")
        if (
            method.row.per_layer
            and method.row.engine != "head"
            and not method.adapted(self.encoder.layers)
        ):
            raise XittError(
                f"method {method.label}: it puts no parameter into this encoder of "
                f"{self.encoder.layers} layers; does leave_out name them all?"
            )
        if seed is not None:
            # both libraries draw from the global generator when they add a module
            torch.manual_seed(seed)
        self.over[name] = tuple(over)
        _MOUNT[method.row.engine](self, name, method)
        for encoder in (self.encoder, *self._copies.values()):
            encoder.model.eval()  # peft's new layers start in training mode, with their dropout on
        self.methods[name] = method
        self._refresh()
        own = self.parameters(name)
        for parameter in own.values():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(False)
        if method.name == "pissa" and tensors is None:
            self._principal(name)
        if random and method.row.silent:
            for parameter in self.trainable(name).values():
                parameter.data.add_(torch.randn(parameter.shape).to(parameter.device), alpha=NOISE)
        if tensors is not None:
            try:
                _copy_strictly(own, tensors, f"module {name} ({method.label})")
            except XittError:
                self.unmount(name)
                raise

    def unmount(self, name: str) -> None:
        """Takes a module out again."""
        method = self.methods.pop(name)
        self.activate(AdapterSetup((), (), None, 0))
        _UNMOUNT[method.row.engine](self, name)
        del self.over[name]
        self._walked.pop(name, None)
        self._refresh()

    def _refresh(self) -> None:
        from peft.tuners.lora import LoraLayer

        self._updated = []
        for layer, block in enumerate(self.encoder.model.encoder.layer):
            for place, (path, _) in PLACES.items():
                if isinstance(module := block.get_submodule(path), LoraLayer):
                    self._updated.append((layer, place, module))

    # -- its tensors -------------------------------------------------------------------------------

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """Everything of a module that is saved, by names without the mount's; of `full`, the
        encoder's own names."""
        # the walk over all that is mounted is long, and is taken at every mount
        if name in self._walked:
            return dict(self._walked[name])
        if name in self._weights:
            return {"weights": self._weights[name]}
        if name in self._copies:
            named = self._copies[name].model.named_parameters()
            return {
                own: parameter
                for full, parameter in named
                if (own := full.replace(".base_layer.", "."))
            }
        found = {}
        for full, parameter in self.encoder.model.named_parameters():
            for mark, short in ((f".{name}.", "."), (f".{name}{START}.", ".start.")):
                if mark in full:
                    found[full.replace(mark, short).replace(".base_layer.", ".")] = parameter
        if name in self.methods:
            self._walked[name] = found
        return dict(found)

    def trainable(self, name: str) -> dict[str, nn.Parameter]:
        """The parameters of a module that training changes."""
        return {
            own: parameter
            for own, parameter in self.parameters(name).items()
            if ".start." not in own
        }

    def encoder_of(self, setup: AdapterSetup) -> Encoder:
        """The shared encoder, or the copy that `full` trained."""
        return self._copies[setup.full] if setup.full else self.encoder

    def _principal(self, name: str) -> None:
        """Starts PiSSA (Meng et al. 2024): the factors of each weight's leading singular values,
        and beside them the same product taken away, so that the encoder itself keeps its bits."""
        rank, scaling = self.methods[name]["rank"], self.methods[name].scaling
        for _, _, layer in self._updated:
            if name not in layer.lora_A:
                continue
            left, values, right = _leading(layer.get_base_layer().weight.detach().float(), rank)
            root = (values / scaling).sqrt()
            for mount, sign in ((name, 1.0), (name + START, -1.0)):
                layer.lora_A[mount].weight.data.copy_(root[:, None] * right)
                layer.lora_B[mount].weight.data.copy_(sign * left * root)

    # -- which are active --------------------------------------------------------------------------

    def activate(self, setup: AdapterSetup) -> None:
        """Makes `lowered` what the layers compute. Sets no gradient flags: a library's own switch
        would."""
        from adapters.composition import Fuse, Stack

        active = None
        if setup.bottlenecks:
            parts = [
                part if isinstance(part, str) else Fuse(*part, name=setup.fusion)
                for part in setup.bottlenecks
            ]
            active = (
                parts[0] if len(parts) == 1 and not isinstance(parts[0], str) else Stack(*parts)
            )
        self.encoder.model.adapters_config.active_setup = active
        weights = self._weights.get(setup.fusion or "")
        rows = self._rows(setup.fusion) if weights is not None else {}
        for layer, place, module in self._updated:
            present = [name for name in setup.updates if name in module.lora_A]
            module._active_adapter = [
                mount
                for name in present
                for mount in (name, name + START)
                if mount in module.lora_A
            ]
            for at, name in enumerate(setup.updates):
                if name in present:
                    weight = weights[rows[layer, place], at] if (layer, place) in rows else 1.0
                    weight = weight * setup.weights[at] if setup.weights else weight
                    for mount in (name, name + START):
                        if mount in module.lora_A:
                            module.scaling[mount] = self.methods[name].scaling * weight

    def activate_rows(self, forms: Sequence[AdapterSetup], sizes: Sequence[int]) -> bool:
        """Makes one pass over a batch compute another form for each of its runs of `sizes` rows,
        and says whether it can; where it can't, nothing has changed. Low-rank updates can, whatever
        their sums: each row has its own number before each, 0 where it has none of it. So can
        bottlenecks that differ at the top of their stacks."""
        from adapters.composition import BatchSplit, Stack

        forms = list(forms)
        names = list(dict.fromkeys(name for form in forms for name in form.updates))
        tops = [form.bottlenecks[-1:] for form in forms]
        split = len(dict.fromkeys(form.bottlenecks for form in forms)) > 1
        if (
            any(form.full or form.fusion for form in forms)
            or any(self.methods[name].name == "dora" for name in names)
            or (split and not self._splits([form.bottlenecks for form in forms]))
        ):
            return False
        self.activate(AdapterSetup(forms[0].bottlenecks, tuple(names), None, 0))
        if split:
            parts = BatchSplit(*(top for (top,) in tops), batch_sizes=list(sizes))
            self.encoder.model.adapters_config.active_setup = (
                Stack(*forms[0].bottlenecks[:-1], parts) if len(forms[0].bottlenecks) > 1 else parts
            )
        for name in names:
            own = [
                dict(
                    zip(form.updates, form.weights or (1.0,) * len(form.updates), strict=True)
                ).get(name, 0.0)
                for form in forms
            ]
            rows = torch.tensor(own, device=self.encoder.device).repeat_interleave(
                torch.tensor(sizes, device=self.encoder.device)
            )[:, None, None]
            for _, _, module in self._updated:
                for mount in (name, name + START):
                    if mount in module.lora_A:
                        module.scaling[mount] = self.methods[name].scaling * rows
        return True

    def _splits(self, stacks: Sequence[tuple]) -> bool:
        """Whether stacks differ in nothing but single bottlenecks at their tops, of one method that
        the library splits a batch over exactly."""
        tops = [stack[-1] for stack in stacks if stack and isinstance(stack[-1], str)]
        return (
            len(tops) == len(stacks) == len(set(tops))
            and len({stack[:-1] for stack in stacks}) == 1
            and len({self.methods[top].name for top in tops}) == 1
            and self.methods[tops[0]].name in SPLIT
        )

    def _rows(self, fusion: str) -> dict[tuple[int, str], int]:
        """The row of a weights fusion's tensor for each layer and place."""
        choice = self.methods[fusion]
        pairs = [
            (layer, place)
            for layer in choice.adapted(self.encoder.layers)
            for place in choice["places"]
        ]
        return {pair: at for at, pair in enumerate(pairs)}

    def attends(self, setup: AdapterSetup) -> bool:
        """Whether a composition weights its parts token by token, so that evaluation has something
        to collect."""
        return bool(setup.fusion) and setup.fusion not in self._weights

    def penalty(self, setup: AdapterSetup) -> Tensor | None:
        """What a fusion adds to the loss: its value matrices' squared distance to the identity
        (AdapterFusion)."""
        if not self.attends(setup) or not any(
            one.requires_grad for one in self.parameters(setup.fusion).values()
        ):
            return None
        values = [
            value
            for own, value in self.parameters(setup.fusion).items()
            if own.endswith("value.weight")
        ]
        eye = torch.eye(self.encoder.width, device=self.encoder.device)
        return REGULARISATION * sum((eye - value).pow(2).sum() for value in values)

    @contextmanager
    def training(self, dropout: float | None) -> Iterator[None]:
        """The encoder and its copies in training mode, with this dropout, and back in evaluation
        mode after; dropout of frozen modules stays off."""
        encoders = (self.encoder, *self._copies.values())
        for encoder in encoders:
            encoder.set_dropout(dropout)
            encoder.model.train()
        frozen = {
            mount
            for name, choice in self.methods.items()
            if dict(choice.options).get("dropout")
            and not any(one.requires_grad for one in self.parameters(name).values())
            for mount in (name, name + START)
        }
        if frozen:
            for path, module in self.encoder.model.named_modules():
                if frozen & set(path.split(".")):
                    module.eval()
        try:
            yield
        finally:
            for encoder in encoders:
                encoder.model.eval()


def _leading(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Leading singular vectors and values of [out, in]: [out, rank], [rank], [rank, in]."""
    if min(weight.shape) <= 256:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return left[:, :rank], values[:rank], right[:rank]
    # a hundredth of the time at 1,024 × 1,024
    left, values, right = torch.svd_lowrank(weight, q=rank, niter=16)
    return left, values, right.T


def _copy_strictly(
    own: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], what: str
) -> None:
    missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    if missing or extra:
        raise XittError(
            f"{what}: {len(missing)} tensors missing {missing[:2]}, {len(extra)} too many"
            f" {extra[:2]}; it was made for another encoder or with other options"
        )
    for name, parameter in own.items():
        if parameter.shape != tensors[name].shape:
            raise XittError(
                f"{what}: {name} has shape {tuple(tensors[name].shape)}, "
                f"this encoder needs {tuple(parameter.shape)}"
            )
        parameter.data.copy_(tensors[name])


# -- one mount per engine --------------------------------------------------------------------------


def _fields(method: Choice) -> dict[str, Any]:
    """The library's fields, from the row and the options."""
    own = {field: method[option] for option, field in method.row.fields.items()}
    return {
        **method.row.constants,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in own.items()},
    }


def _mount_bottleneck(adapted: AdaptedEncoder, name: str, method: Choice) -> None:
    import adapters

    factors = dict(method.options).get("factors")
    if factors and (
        adapted.encoder.width % factors
        or adapted.encoder.width // method["reduction"] % factors
        or adapted.encoder.width < method["reduction"]
    ):
        raise XittError(
            f"method {method.label}: factors must divide the encoder's width,"
            f" {adapted.encoder.width}, and that over reduction,"
            f" {adapted.encoder.width // method['reduction']}; write a smaller reduction"
        )
    adapted.encoder.model.add_adapter(
        name, config=getattr(adapters, method.row.config)(**_fields(method))
    )
    adapted.encoder.model.adapters_config.active_setup = None
    adapted.encoder.model.to(adapted.encoder.device)


def _unmount_bottleneck(adapted: AdaptedEncoder, name: str) -> None:
    adapted.encoder.model.delete_adapter(name)


def _mount_update(adapted: AdaptedEncoder, name: str, method: Choice) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    layers = "|".join(map(str, method.adapted(adapted.encoder.layers)))
    ends = "|".join(re.escape(PLACES[place][0]) for place in method["places"])
    config = LoraConfig(target_modules=rf"encoder\.layer\.({layers})\.({ends})", **_fields(method))
    with warnings.catch_warnings():
        # several in one model is the point
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        for mount in (name, name + START) if method.name == "pissa" else (name,):
            if not _updated_again(adapted, mount, method, config):
                inject_adapter_in_model(config, adapted.encoder.model, adapter_name=mount)


def _updated_again(adapted: AdaptedEncoder, mount: str, method: Choice, config: Any) -> bool:
    """Gives another update to places that have had one, as the library does once it has walked
    through the whole model, which takes the longer the more is mounted; False, and nothing done,
    where a place is new."""
    layers = {(layer, place): module for layer, place, module in adapted._updated}
    places = [
        (layer, place)
        for layer in method.adapted(adapted.encoder.layers)
        for place in PLACES
        if place in method["places"]
    ]
    if not all(place in layers for place in places):
        return False
    for layer, place in places:
        # or gradients of what is active would be switched on
        layers[layer, place]._active_adapter = []
        layers[layer, place].update_layer(
            mount,
            config.r,
            lora_alpha=config.lora_alpha,
            config=config,
            target_name=f"encoder.layer.{layer}.{PLACES[place][0]}",
        )
    return True


def _unmount_update(adapted: AdaptedEncoder, name: str) -> None:
    for _, _, module in adapted._updated:
        for mount in (name, name + START):
            if mount in module.lora_A:
                module.delete_adapter(mount)


def _mount_fusion(adapted: AdaptedEncoder, name: str, method: Choice) -> None:
    adapted.encoder.model.add_adapter_fusion(list(adapted.over[name]), config="dynamic", name=name)
    adapted.encoder.model.adapters_config.active_setup = None
    adapted.encoder.model.to(adapted.encoder.device)


def _unmount_fusion(adapted: AdaptedEncoder, name: str) -> None:
    adapted.encoder.model.delete_adapter_fusion(name)


def _mount_weights(adapted: AdaptedEncoder, name: str, method: Choice) -> None:
    """One weight per layer, place and module: 1 for the last module, 0 for the others: where `none`
    ended."""
    if len(adapted.over[name]) != method["parts"]:
        raise XittError(f"{name} weights {method['parts']} modules, not {len(adapted.over[name])}")
    rows = len(method.adapted(adapted.encoder.layers)) * len(method["places"])
    start = torch.zeros(rows, method["parts"])
    start[:, -1] = 1.0
    adapted._weights[name] = nn.Parameter(start.to(adapted.encoder.device))


def _unmount_weights(adapted: AdaptedEncoder, name: str) -> None:
    del adapted._weights[name]


def _mount_full(adapted: AdaptedEncoder, name: str, method: Choice) -> None:
    if len(adapted.methods):
        raise ValueError("a fully fine-tuned encoder is mounted alone")
    adapted._copies[name] = adapted.encoder.copied()


def _unmount_full(adapted: AdaptedEncoder, name: str) -> None:
    del adapted._copies[name]


def _nothing(adapted: AdaptedEncoder, name: str, method: Choice | None = None) -> None:
    """The head alone puts nothing into the encoder."""


_MOUNT: dict[str, Any] = {
    "adapters": _mount_bottleneck,
    "peft": _mount_update,
    "full": _mount_full,
    "head": _nothing,
    "fusion": _mount_fusion,
    "weights": _mount_weights,
}
_UNMOUNT: dict[str, Any] = {
    "adapters": _unmount_bottleneck,
    "peft": _unmount_update,
    "full": _unmount_full,
    "head": _nothing,
    "fusion": _unmount_fusion,
    "weights": _unmount_weights,
}
