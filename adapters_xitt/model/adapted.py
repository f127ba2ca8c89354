"""One encoder with modules in its layers: added, activated as an adapter setup, trained, taken out
again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from adapters_xitt.errors import XittError
from adapters_xitt.model.encoder import Encoder
from adapters_xitt.model.engines import ENGINES, START_NAME
from adapters_xitt.model.setup import AdapterSetup
from adapters_xitt.modules.methods import START, TARGET_MODULES, Choice

# standard deviation of what makes a silent module random: that of the encoder's own initialisation
NOISE = 0.02
REGULARISATION = 0.01  # of a fusion's value matrices towards the identity: AdapterFusion's own
NOTHING_ACTIVE = AdapterSetup((), (), None, 0)


class AdaptedEncoder:
    """One encoder, the modules in it, and which of them are active. A module's tensors are those
    that adding it made: loading gives a new copy, nothing is ever merged into the encoder."""

    def __init__(self, encoder: Encoder) -> None:
        self.encoder = encoder
        self.methods: dict[str, Choice] = {}
        self.over: dict[str, tuple[str, ...]] = {}  # fusion -> the modules it weights
        self.copies: dict[str, Encoder] = {}  # fully fine-tuned ones, by their module's name
        self.update_weights: dict[str, nn.Parameter] = {}  # of fusions of low-rank updates
        # layer, target module and peft's layer there, wherever there are or were updates
        self.updated_layers: list[tuple[int, str, Any]] = []
        # the parameters of each module in the encoder's layers: a walk over all of them is long
        self._parameters: dict[str, dict[str, nn.Parameter]] = {}

    # -- in and out --------------------------------------------------------------------------------

    def add(
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
        effect though it is not trained; a fusion is added `over` modules that are there already,
        in the order it was trained in."""
        if name in self.methods:
            raise ValueError(f"{name} is there already")
        self._check_fit(method)
        if seed is not None:
            # both libraries draw from the global generator when they add a module
            torch.manual_seed(seed)
        self.over[name] = tuple(over)
        engine = ENGINES[method.spec.engine]
        engine.add(self, name, method)
        for encoder in (self.encoder, *self.copies.values()):
            encoder.model.eval()  # peft's new layers start in training mode, with their dropout on
        self.methods[name] = method
        self._find_updated_layers()
        parameters = self.parameters(name)
        for parameter in parameters.values():
            parameter.data = parameter.data.float()
            parameter.requires_grad_(False)
        if tensors is None:
            engine.start(self, name, method)
        if random and method.spec.silent:
            for parameter in self.trainable(name).values():
                noise = torch.randn(parameter.shape).to(parameter.device)
                parameter.data.add_(noise, alpha=NOISE)
        if tensors is not None:
            try:
                _copy_strictly(parameters, tensors, f"module {name} ({method.label})")
            except XittError:
                self.remove(name)
                raise

    def _check_fit(self, method: Choice) -> None:
        """Refuses a method that this encoder has no room for."""
        in_layers = not (method.spec.trains_encoder or method.spec.is_empty)
        if in_layers and not method.adapted(self.encoder.layers):
            raise XittError(
                f"method {method.label}: it puts no parameter into this encoder of "
                f"{self.encoder.layers} layers; does leave_out name them all?"
            )
        if why := method.spec.misfit(dict(method.options), self.encoder.width):
            raise XittError(f"method {method.label}: {why}")

    def remove(self, name: str) -> None:
        """Takes a module out again."""
        method = self.methods.pop(name)
        self.activate(NOTHING_ACTIVE)
        ENGINES[method.spec.engine].remove(self, name)
        del self.over[name]
        self._parameters.pop(name, None)
        self._find_updated_layers()

    def _find_updated_layers(self) -> None:
        from peft.tuners.lora import LoraLayer

        self.updated_layers = []
        for layer, block in enumerate(self.encoder.model.encoder.layer):
            for target_name, target in TARGET_MODULES.items():
                module = block.get_submodule(target.path)
                if isinstance(module, LoraLayer):
                    self.updated_layers.append((layer, target_name, module))

    # -- its tensors -------------------------------------------------------------------------------

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """Everything of a module that is saved, by names without the module's; of `full`, the
        encoder's own names."""
        if name in self._parameters:
            return dict(self._parameters[name])
        if name in self.update_weights:
            return {"weights": self.update_weights[name]}
        if name in self.copies:
            named = self.copies[name].model.named_parameters()
            return {path.replace(".base_layer.", "."): parameter for path, parameter in named}
        parameters = {}
        for path, parameter in self.encoder.model.named_parameters():
            for mark, short in ((f".{name}.", "."), (f".{name}{START_NAME}.", START)):
                if mark in path:
                    own_path = path.replace(mark, short).replace(".base_layer.", ".")
                    parameters[own_path] = parameter
        if name in self.methods:
            self._parameters[name] = parameters
        return dict(parameters)

    def trainable(self, name: str) -> dict[str, nn.Parameter]:
        """The parameters of a module that training changes."""
        parameters = self.parameters(name)
        return {path: value for path, value in parameters.items() if START not in path}

    def encoder_of(self, setup: AdapterSetup) -> Encoder:
        """The shared encoder, or the copy that `full` trained."""
        return self.copies[setup.full] if setup.full else self.encoder

    # -- which are active --------------------------------------------------------------------------

    def activate(self, setup: AdapterSetup) -> None:
        """Makes `setup` what the layers compute. Sets no gradient flags: a library's own switch
        would."""
        self.encoder.model.adapters_config.active_setup = _library_stack(setup)
        weights = self.update_weights.get(setup.fusion or "")
        rows = {} if weights is None else self._weight_rows(setup.fusion or "")
        for layer, target, module in self.updated_layers:
            present = [name for name in setup.updates if name in module.lora_A]
            module._active_adapter = [
                part for name in present for part in update_parts(module, name)
            ]
            for index, name in enumerate(setup.updates):
                if name not in present:
                    continue
                weight: Any = 1.0
                if weights is not None and (layer, target) in rows:
                    weight = weights[rows[layer, target], index]
                if setup.weights:
                    weight = weight * setup.weights[index]
                for part in update_parts(module, name):
                    module.scaling[part] = self.methods[name].scaling * weight

    def _weight_rows(self, fusion: str) -> dict[tuple[int, str], int]:
        """The row of a weights fusion's tensor for each layer and target module."""
        choice = self.methods[fusion]
        pairs = [
            (layer, target)
            for layer in choice.adapted(self.encoder.layers)
            for target in choice["places"]
        ]
        return {pair: index for index, pair in enumerate(pairs)}

    # -- a fusion's own ----------------------------------------------------------------------------

    def attends(self, setup: AdapterSetup) -> bool:
        """Whether a composition weights its parts token by token, so that evaluation has something
        to collect."""
        return bool(setup.fusion) and setup.fusion not in self.update_weights

    def penalty(self, setup: AdapterSetup) -> Tensor | None:
        """What a fusion adds to the loss: its value matrices' squared distance to the identity
        (AdapterFusion)."""
        if not setup.fusion or not self.attends(setup):
            return None
        parameters = self.parameters(setup.fusion)
        if not any(parameter.requires_grad for parameter in parameters.values()):
            return None
        values = [value for path, value in parameters.items() if path.endswith("value.weight")]
        identity = torch.eye(self.encoder.width, device=self.encoder.device)
        distances = [(identity - value).pow(2).sum() for value in values]
        return REGULARISATION * sum(distances[1:], distances[0])

    # -- modes -------------------------------------------------------------------------------------

    @contextmanager
    def training(self, dropout: float | None) -> Iterator[None]:
        """The encoder and its copies in training mode, with this dropout, and back in evaluation
        mode after; dropout of frozen modules stays off."""
        encoders = (self.encoder, *self.copies.values())
        for encoder in encoders:
            encoder.set_dropout(dropout)
            encoder.model.train()
        frozen = self._frozen_with_dropout()
        if frozen:
            for path, module in self.encoder.model.named_modules():
                if frozen & set(path.split(".")):
                    module.eval()
        try:
            yield
        finally:
            for encoder in encoders:
                encoder.model.eval()

    def _frozen_with_dropout(self) -> set[str]:
        """The names, in the libraries' layers, of modules that are not trained and have dropout."""
        names: set[str] = set()
        for name, choice in self.methods.items():
            trained = any(value.requires_grad for value in self.parameters(name).values())
            if dict(choice.options).get("dropout") and not trained:
                names |= {name, name + START_NAME}
        return names


def update_parts(module: Any, name: str) -> list[str]:
    """The names of an update in peft's layer: its own, and that of the start that is taken away."""
    return [part for part in (name, name + START_NAME) if part in module.lora_A]


def _library_stack(setup: AdapterSetup) -> Any:
    """The active blocks of `adapters`, as the library writes them; None where there are none."""
    from adapters.composition import Fuse, Stack

    if not setup.bottlenecks:
        return None
    blocks = [
        block if isinstance(block, str) else Fuse(*block, name=setup.fusion)
        for block in setup.bottlenecks
    ]
    alone = len(blocks) == 1 and not isinstance(blocks[0], str)
    return blocks[0] if alone else Stack(*blocks)


def _copy_strictly(
    parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor], what: str
) -> None:
    missing = sorted(set(parameters) - set(tensors))
    extra = sorted(set(tensors) - set(parameters))
    if missing or extra:
        raise XittError(
            f"{what}: {len(missing)} tensors missing {missing[:2]}, {len(extra)} too many"
            f" {extra[:2]}; it was made for another encoder or with other options"
        )
    for name, parameter in parameters.items():
        if parameter.shape != tensors[name].shape:
            raise XittError(
                f"{what}: {name} has shape {tuple(tensors[name].shape)}, "
                f"this encoder needs {tuple(parameter.shape)}"
            )
        parameter.data.copy_(tensors[name])
