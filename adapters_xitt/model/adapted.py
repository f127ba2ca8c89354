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
        # where the libraries keep modules by their names, with the path of each place
        self._holders: list[tuple[str, nn.ModuleDict]] = []
        self.survey()

    def survey(self) -> None:
        """Walks the encoder for the places where modules are kept. An engine that makes new ones
        calls it; every other addition and removal goes to these places alone, however many modules
        are there."""
        from peft.tuners.lora import LoraLayer

        self.encoder.model.eval()  # peft's new layers start in training mode
        self._holders = []
        for path, module in self.encoder.model.named_modules():
            within = self._holders and path.startswith(self._holders[-1][0] + ".")
            if isinstance(module, nn.ModuleDict) and not within:
                self._holders.append((path, module))
        self.updated_layers = []
        for layer, block in enumerate(self.encoder.model.encoder.layer):
            for target_name, target in TARGET_MODULES.items():
                module = block.get_submodule(target.path)
                if isinstance(module, LoraLayer):
                    self.updated_layers.append((layer, target_name, module))

    def _held(self, name: str) -> list[tuple[str, nn.Module]]:
        """What the libraries keep under a name, each with the path of its place."""
        return [(path, holder[name]) for path, holder in self._holders if name in holder]

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
        for _, module in (*self._held(name), *self._held(name + START_NAME)):
            module.eval().to(self.encoder.device)
        self.methods[name] = method
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

    # -- its tensors -------------------------------------------------------------------------------

    def parameters(self, name: str) -> dict[str, nn.Parameter]:
        """Everything of a module that is saved, by names without the module's; of `full`, the
        encoder's own names."""
        if name in self.update_weights:
            return {"weights": self.update_weights[name]}
        if name in self.copies:
            named = self.copies[name].model.named_parameters()
            return {path.replace(".base_layer.", "."): parameter for path, parameter in named}
        held = [(path + ".", module) for path, module in self._held(name)]
        held += [(path + START, module) for path, module in self._held(name + START_NAME)]
        places: dict[nn.Parameter, str] = {}  # what layers share has its first place's name
        for path, module in held:
            for own_path, parameter in module.named_parameters():
                places.setdefault(parameter, (path + own_path).replace(".base_layer.", "."))
        return {path: parameter for parameter, path in places.items()}

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
        mode after; dropout of frozen modules stays off. It walks all that is in the encoder: for a
        stage, not for a step."""
        for encoder in (self.encoder, *self.copies.values()):
            encoder.set_dropout(dropout)
        self._train(True)
        try:
            yield
        finally:
            self._train(False)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode for a while, in the midst of `training` or not."""
        if not self.encoder.model.training:
            yield
            return
        self._train(False)
        try:
            yield
        finally:
            self._train(True)

    def _train(self, training: bool) -> None:
        for encoder in (self.encoder, *self.copies.values()):
            encoder.model.train(training)
        for name in self.methods if training else ():
            if not any(value.requires_grad for value in self.parameters(name).values()):
                for _, module in (*self._held(name), *self._held(name + START_NAME)):
                    module.eval()


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
