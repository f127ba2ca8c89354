"""The device, and the encoder on it with whatever stored modules the work at hand needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision

from adapters_xitt.errors import XittError
from adapters_xitt.model import encoder, pretrained
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.setup import AdapterSetup, resolve
from adapters_xitt.model.trunk import KeptTrunk
from adapters_xitt.modules.composition import Composition, Part, fusion_parts, parse, rename
from adapters_xitt.modules.manifest import Module
from adapters_xitt.modules.methods import Choice

if TYPE_CHECKING:
    from lightning_fabric.connector import _PRECISION_INPUT

# Modules and moments are fp32 throughout; 8 and 4 bits compute in bf16.
PRECISIONS: dict[str, _PRECISION_INPUT] = {
    "32": "32-true",
    "bf16": "bf16-mixed",
    "16": "16-mixed",
    "8bit": "bf16-mixed",
    "4bit": "bf16-mixed",
}


def make_fabric(device: str, precision: str) -> Fabric:
    """One device: auto, cpu, cuda or mps."""
    if precision not in PRECISIONS:
        raise XittError(f"precision {precision!r}: one of {', '.join(PRECISIONS)}")
    check_device(device)
    if precision != "16":
        return Fabric(accelerator=device, devices=1, precision=PRECISIONS[precision])
    # Every row scales its own loss, so that none depends on its companions; Fabric's one scaler
    # stays off.
    kind = device if device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    off = torch.amp.GradScaler(kind, enabled=False)
    return Fabric(
        accelerator=device, devices=1, plugins=[MixedPrecision("16-mixed", kind, scaler=off)]
    )


def machine(fabric: Fabric) -> dict[str, Any]:
    """What decides the bits of a number beside its key and the versions: the device, how many
    threads share a sum, and whose kernels they run."""
    device = fabric.device
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else torch.backends.cpu.get_cpu_capability()
    )
    return {
        "device": str(device),
        "kernels": name,
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


def check_device(device: str) -> None:
    """Refuses a device that this machine lacks."""
    checks: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
    }
    if device in checks and not checks[device]():
        raise XittError(
            f"device {device!r}: torch {torch.__version__} finds none on this machine; "
            "`xitt doctor` says what it sees"
        )


class ModelSession:
    """The encoder on its device with the modules a cohort needs; built when the first job needs
    it."""

    def __init__(
        self,
        files: pretrained.EncoderFiles,
        fabric: Fabric,
        loading: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.files, self.fabric, self.loading = files, fabric, loading
        # why the encoder can't be loaded: no job's failure but the run's
        self.unusable: Exception | None = None
        self._adapted: AdaptedEncoder | None = None
        self._trunk: KeptTrunk | None = None

    @property
    def adapted(self) -> AdaptedEncoder:
        """The encoder, loaded when it is first asked for."""
        if self._adapted is None:
            try:
                loaded = encoder.load(self.files, **self.loading())
                loaded.model.to(self.fabric.device)
            except (XittError, RuntimeError, ValueError, LookupError, TypeError) as error:
                self.unusable = error
                raise
            self._adapted = AdaptedEncoder(loaded)
        return self._adapted

    def renew(self) -> None:
        """Lets the encoder go with everything in it; the next that needs it gets one as it was
        loaded first."""
        self._adapted = self._trunk = None

    def kept_trunk(self, depth: int) -> KeptTrunk:
        """The layers below a depth, run once for each feature as long as this session lives."""
        if self._trunk is None or self._trunk.depth != depth:
            self._trunk = KeptTrunk(self.adapted, self.fabric, depth)
        return self._trunk

    def clear(self, keep: Iterable[str] = ()) -> None:
        """Takes out every module but those in `keep`."""
        for name in [name for name in self.adapted.methods if name not in set(keep)]:
            self.adapted.remove(name)

    def add(self, module: Module, choice: Choice) -> None:
        """Adds a stored module, once; it must have been made for this very encoder."""
        manifest, name = module.manifest, module_name(module.manifest.key)
        parts = fusion_parts(parse(manifest.context), manifest.key)
        if manifest.encoder != self.files.fingerprint:
            raise XittError(
                f"module {manifest.key[:12]} was made for the encoder {manifest.encoder_name}"
                f" ({manifest.encoder[:12]}), this one is {self.files.name}"
                f" ({self.files.fingerprint[:12]})"
            )
        if name not in self.adapted.methods:
            _check_size(module, choice, self.files)
            over = tuple(module_name(part) for part in parts)
            self.adapted.add(name, choice, tensors=module.part("encoder"), over=over)

    def setup(self, composition: Composition) -> AdapterSetup:
        """The form of a composition over module keys."""
        named = rename(composition, lambda key: Part(module_name(key)))
        return resolve(named, self.adapted.methods, self.files.layers)


def _check_size(module: Module, choice: Choice, files: pretrained.EncoderFiles) -> None:
    """Refuses a module whose manifest claims far more than its file has, before the libraries make
    room for it."""
    stored = sum(tensor.numel() for tensor in module.part("encoder").values())
    claimed = choice.parameters(files.width, files.wide, files.layers, files.parameters)
    if claimed > 2 * stored + 10_000:  # what is a little off is told tensor by tensor
        raise XittError(
            f"module {module.manifest.key[:12]} ({module.manifest.role}): its method {choice.label}"
            f" has {claimed:,} parameters in this encoder, its file {stored:,}: most tensors are"
            " missing"
        )


def module_name(key: str) -> str:
    """The name of a module in the encoder: short, and never the name of a layer."""
    return f"m{key[:24]}"
