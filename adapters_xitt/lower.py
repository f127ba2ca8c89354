"""A composition made to run: modules put into the layers of one encoder, and the forms proven equal to each alone.

Bottlenecks run through `adapters` as one Stack of names; low-rank updates through `peft` as several active at once,
which is their exact sum. Anything else is refused with the reason and what to write instead."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from adapters_xitt import compose
from adapters_xitt.compose import Composition
from adapters_xitt.encoder import Encoder
from adapters_xitt.errors import XittError
from adapters_xitt.methods import Choice


@dataclass(frozen=True)
class Lowered:
    """A composition in the form the libraries run: bottlenecks bottom first, low-rank updates in any order, or one
    fully fine-tuned encoder. `depth` is the first layer that anything touches: the trunk lies below it."""

    bottlenecks: tuple[str, ...]
    updates: tuple[str, ...]
    full: str | None
    depth: int


def lower(composition: Composition, methods: Mapping[str, Choice], layers: int) -> Lowered:
    """The form in which `composition` runs; a `XittError` for what no proven form exists for."""
    parts = compose.names(composition)
    engines = {name: methods[name].row.engine for name in parts}
    if any(engine == "full" for engine in engines.values()) and len(parts) > 1:
        raise XittError(f"{compose.show(composition)}: a fully fine-tuned encoder composes with nothing")
    _check(composition, engines)
    touched = [layer for name in parts if engines[name] != "full" for layer in methods[name].adapted(layers)]
    full = next((name for name in parts if engines[name] == "full"), None)
    return Lowered(tuple(name for name in parts if engines[name] == "adapters"),
                   tuple(name for name in parts if engines[name] == "peft"),
                   full, 0 if full else min(touched, default=layers))


def _check(composition: Composition, engines: Mapping[str, str]) -> None:
    """Refuses a stack of updates, whose library form is a product, and a sum of bottlenecks, which is no sum."""
    text, leaves = compose.show(composition), _leaves(composition)
    if repeated := [name for name in dict.fromkeys(leaves) if leaves.count(name) > 1]:
        raise XittError(f"{text}: {', '.join(repeated)} stands twice; each module may stand once")
    match composition:
        case compose.Stack(parts) if sum("peft" in {engines[n] for n in compose.names(p)} for p in parts) > 1:
            raise XittError(f"{text}: low-rank updates don't stack, the library's form multiplies them; "
                            f"write {_instead(composition, engines)}")
        case compose.Sum(parts) if any(engines[n] != "peft" for p in parts for n in compose.names(p)):
            raise XittError(f"{text}: a sum needs low-rank updates on both sides; bottlenecks stack: "
                            f"write {_instead(composition, engines)}")
        case compose.Stack(parts) | compose.Sum(parts):
            for part in parts:
                _check(part, engines)
        case _:
            pass


def _leaves(composition: Composition) -> list[str]:
    """The names, as often as they stand there."""
    parts = getattr(composition, "parts", ())
    return [name for part in parts for name in _leaves(part)] or list(compose.names(composition))


def _instead(composition: Composition, engines: Mapping[str, str]) -> str:
    """The form that runs: the updates summed, where the first of them stood, and everything else stacked."""
    found: list[Composition] = []
    updates = tuple(compose.Part(name) for name in compose.names(composition) if engines[name] == "peft")
    for name in compose.names(composition):
        if engines[name] != "peft":
            found.append(compose.Part(name))
        elif compose.Part(name) == updates[0]:
            found.append(compose.Sum(updates) if len(updates) > 1 else updates[0])
    return compose.show(compose.Stack(tuple(found)) if len(found) > 1 else found[0])


class Rig:
    """One encoder, the modules in it, and which of them are active. A module's tensors are those a mount made:
    loading gives a new copy, nothing is ever merged into the encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.methods: dict[str, Choice] = {}
        self._copies: dict[str, Encoder] = {}

    def mount(self, name: str, method: Choice, *, seed: int | None = None,
              tensors: Mapping[str, Tensor] | None = None) -> None:
        """Puts a module into the encoder under `name`: fresh from `seed`, or with `tensors`, whose names and shapes
        must be exactly those of the method."""
        if name in self.methods:
            raise ValueError(f"{name} is mounted already")
        if method.row.per_layer and method.row.engine != "head" and not method.adapted(self.encoder.layers):
            raise XittError(f"method {method.label}: it puts no parameter into this encoder of "
                            f"{self.encoder.layers} layers; does leave_out name them all?")
        if seed is not None:
            torch.manual_seed(seed)  # both libraries draw from the global generator when they add a module
        _MOUNT[method.row.engine](self, name, method)
        self.methods[name] = method
        own = self.parameters(name)
        for parameter in own.values():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(False)
        if tensors is not None:
            try:
                _copy_strictly(own, tensors, f"module {name} ({method.label})")
            except XittError:
                self.unmount(name)
                raise

    def unmount(self, name: str) -> None:
        """Takes a module out again."""
        method = self.methods.pop(name)
        self.activate(Lowered((), (), None, 0))
        _UNMOUNT[method.row.engine](self, name)

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """A module's parameters by their names without the mount's; of `full`, the encoder's own names."""
        if name in self._copies:
            named = self._copies[name].model.named_parameters()
            return {own: parameter for full, parameter in named if (own := full.replace(".base_layer.", "."))}
        mark = f".{name}."
        return {full.replace(mark, "."): parameter for full, parameter in self.encoder.model.named_parameters()
                if mark in full}

    def encoder_of(self, lowered: Lowered) -> Encoder:
        """The shared encoder, or the copy that `full` trained."""
        return self._copies[lowered.full] if lowered.full else self.encoder

    def activate(self, lowered: Lowered) -> None:
        """Makes `lowered` what the layers compute. Sets no gradient flags: a library's own switch would."""
        from adapters.composition import Stack
        from peft.tuners.lora import LoraLayer

        model = self.encoder.model
        model.adapters_config.active_setup = Stack(*lowered.bottlenecks) if lowered.bottlenecks else None
        for module in model.modules():
            if isinstance(module, LoraLayer):
                module._active_adapter = [name for name in lowered.updates if name in module.lora_A]

    @contextmanager
    def training(self, dropout: float | None):
        """The encoder and its copies in training mode, with this dropout, and back in evaluation mode after."""
        encoders = (self.encoder, *self._copies.values())
        for encoder in encoders:
            encoder.set_dropout(dropout)
            encoder.model.train()
        try:
            yield
        finally:
            for encoder in encoders:
                encoder.model.eval()


def _copy_strictly(own: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], what: str) -> None:
    missing, extra = sorted(set(own) - set(tensors)), sorted(set(tensors) - set(own))
    if missing or extra:
        raise XittError(f"{what}: {len(missing)} tensors missing {missing[:2]}, {len(extra)} too many {extra[:2]}; "
                        "it was made for another encoder or with other options")
    for name, parameter in own.items():
        if parameter.shape != tensors[name].shape:
            raise XittError(f"{what}: {name} has shape {tuple(tensors[name].shape)}, "
                            f"this encoder needs {tuple(parameter.shape)}")
        parameter.data.copy_(tensors[name])


def _mount_bottleneck(rig: Rig, name: str, method: Choice) -> None:
    from adapters import SeqBnConfig

    config = SeqBnConfig(reduction_factor=method["reduction"], leave_out=list(method["leave_out"]))
    rig.encoder.model.add_adapter(name, config=config)
    rig.encoder.model.adapters_config.active_setup = None
    rig.encoder.model.to(rig.encoder.device)


def _unmount_bottleneck(rig: Rig, name: str) -> None:
    rig.encoder.model.delete_adapter(name)


def _mount_update(rig: Rig, name: str, method: Choice) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=method["rank"], lora_alpha=method["alpha"], lora_dropout=0.0,
                        target_modules=list(method["places"]),
                        layers_to_transform=list(method.adapted(rig.encoder.layers)), layers_pattern="layer")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several in one model is the point
        inject_adapter_in_model(config, rig.encoder.model, adapter_name=name)


def _unmount_update(rig: Rig, name: str) -> None:
    from peft.tuners.lora import LoraLayer

    for module in rig.encoder.model.modules():
        if isinstance(module, LoraLayer) and name in module.lora_A:
            module.delete_adapter(name)


def _mount_full(rig: Rig, name: str, method: Choice) -> None:
    if len(rig.methods):
        raise ValueError("a fully fine-tuned encoder is mounted alone")
    rig._copies[name] = rig.encoder.copied()


def _unmount_full(rig: Rig, name: str) -> None:
    del rig._copies[name]


def _nothing(rig: Rig, name: str, method: Choice | None = None) -> None:
    """The head alone puts nothing into the encoder."""


_MOUNT: dict[str, Any] = {"adapters": _mount_bottleneck, "peft": _mount_update, "full": _mount_full, "head": _nothing}
_UNMOUNT: dict[str, Any] = {"adapters": _unmount_bottleneck, "peft": _unmount_update, "full": _unmount_full,
                            "head": _nothing}
