"""Who builds a method's modules in an encoder and takes them out again: one engine for each family
of methods, found by the word that a method's row has for it."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from adapters_xitt.errors import XittError
from adapters_xitt.modules.methods import TARGET_MODULES, Choice

if TYPE_CHECKING:
    from adapters_xitt.model.adapted import AdaptedEncoder

# of the update, in peft's layers, that takes away what a module with its start begins with
START_NAME = "_start"


class Engine:
    """Puts modules into an encoder under their names, and takes them out. This one, that of the
    head alone, has nothing to put there."""

    def add(self, adapted: AdaptedEncoder, name: str, method: Choice) -> None:
        """Builds a fresh module in the encoder."""

    def start(self, adapted: AdaptedEncoder, name: str, method: Choice) -> None:
        """Gives a fresh module the values that it begins with, where its own don't do."""

    def remove(self, adapted: AdaptedEncoder, name: str) -> None:
        """Takes a module out again."""


class Bottlenecks(Engine):
    """Modules of `adapters`."""

    def add(self, adapted: AdaptedEncoder, name: str, method: Choice) -> None:
        import adapters

        fields = method.spec.configuration(dict(method.options))
        config = getattr(adapters, method.spec.config)(**fields)
        adapted.encoder.model.add_adapter(name, config=config)
        adapted.encoder.model.adapters_config.active_setup = None

    def remove(self, adapted: AdaptedEncoder, name: str) -> None:
        adapted.encoder.model.delete_adapter(name)


class Updates(Engine):
    """Low-rank updates, in layers of `peft`."""

    def add(self, adapted: AdaptedEncoder, name: str, method: Choice) -> None:
        from peft import LoraConfig, inject_adapter_in_model

        layers = "|".join(map(str, method.adapted(adapted.encoder.layers)))
        paths = "|".join(re.escape(TARGET_MODULES[target].path) for target in method["places"])
        config = LoraConfig(
            target_modules=rf"encoder\.layer\.({layers})\.({paths})",
            **method.spec.configuration(dict(method.options)),
        )
        parts = [name, name + START_NAME] if method.spec.keeps_start else [name]
        with warnings.catch_warnings():
            # several in one model is the point
            warnings.filterwarnings("ignore", message="Already found a `peft_config`")
            for part in parts:
                if not self._add_again(adapted, part, method, config):
                    inject_adapter_in_model(config, adapted.encoder.model, adapter_name=part)
                    adapted.survey()

    def _add_again(self, adapted: AdaptedEncoder, part: str, method: Choice, config: Any) -> bool:
        """Gives another update to layers that have had one, as the library does once it has walked
        through the whole model, which takes the longer the more is in it; False, and nothing done,
        where a layer is new."""
        modules = {(layer, target): module for layer, target, module in adapted.updated_layers}
        wanted = [
            (layer, target)
            for layer in method.adapted(adapted.encoder.layers)
            for target in TARGET_MODULES
            if target in method["places"]
        ]
        if not all(pair in modules for pair in wanted):
            return False
        for layer, target in wanted:
            # or gradients of what is active would be switched on
            modules[layer, target]._active_adapter = []
            modules[layer, target].update_layer(
                part,
                config.r,
                lora_alpha=config.lora_alpha,
                config=config,
                target_name=f"encoder.layer.{layer}.{TARGET_MODULES[target].path}",
            )
        return True

    def start(self, adapted: AdaptedEncoder, name: str, method: Choice) -> None:
        """Starts PiSSA (Meng et al. 2024): the factors of each weight's leading singular values,
        and beside them the same product taken away, so that the encoder itself keeps its bits."""
        if not method.spec.keeps_start:
            return
        for _, _, layer in adapted.updated_layers:
            if name not in layer.lora_A:
                continue
            weight = layer.get_base_layer().weight.detach().float()
            left, values, right = _leading(weight, method["rank"])
            root = (values / method.scaling).sqrt()
            for part, sign in ((name, 1.0), (name + START_NAME, -1.0)):
                layer.lora_A[part].weight.data.copy_(root[:, None] * right)
                layer.lora_B[part].weight.data.copy_(sign * left * root)

    def remove(self, adapted: AdaptedEncoder, name: str) -> None:
        for _, _, module in adapted.updated_layers:
            for part in (name, name + START_NAME):
                if part in module.lora_A:
                    module.delete_adapter(part)


class BottleneckFusion(Engine):
    """AdapterFusion, of `adapters`."""

    def add(self, adapted: AdaptedEncoder, name: str, method: Choice) -> None:
        parts = list(adapted.over[name])
        adapted.encoder.model.add_adapter_fusion(parts, config="dynamic", name=name)
        adapted.encoder.model.adapters_config.active_setup = None

    def remove(self, adapted: AdaptedEncoder, name: str) -> None:
        adapted.encoder.model.delete_adapter_fusion(name)


class UpdateWeights(Engine):
    """One weight for each layer, target module and update: 1 for the last of them, 0 for the
    others: where `none` ended."""

    def add(self, adapted: AdaptedEncoder, name: str, method: Choice) -> None:
        count = len(adapted.over[name])
        if count != method["parts"]:
            raise XittError(f"{name} weights {method['parts']} modules, not {count}")
        rows = len(method.adapted(adapted.encoder.layers)) * len(method["places"])
        weights = torch.zeros(rows, method["parts"])
        weights[:, -1] = 1.0
        adapted.update_weights[name] = nn.Parameter(weights.to(adapted.encoder.device))

    def remove(self, adapted: AdaptedEncoder, name: str) -> None:
        del adapted.update_weights[name]


class WholeEncoder(Engine):
    """A copy of the encoder, every weight of it trained."""

    def add(self, adapted: AdaptedEncoder, name: str, method: Choice) -> None:
        if adapted.methods:
            raise ValueError("a fully fine-tuned encoder stands alone")
        adapted.copies[name] = adapted.encoder.copy()

    def remove(self, adapted: AdaptedEncoder, name: str) -> None:
        del adapted.copies[name]


ENGINES: dict[str, Engine] = {
    "adapters": Bottlenecks(),
    "peft": Updates(),
    "full": WholeEncoder(),
    "head": Engine(),
    "fusion": BottleneckFusion(),
    "weights": UpdateWeights(),
}


def _leading(weight: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """Leading singular vectors and values of [out, in]: [out, rank], [rank], [rank, in]."""
    if min(weight.shape) <= 256:
        left, values, right = torch.linalg.svd(weight, full_matrices=False)
        return left[:, :rank], values[:rank], right[:rank]
    # a hundredth of the time at 1,024 × 1,024
    left, values, right = torch.svd_lowrank(weight, q=rank, niter=16)
    return left, values, right.T
