"""The machine looked at, and the laws that the numbers rest on tried on a small random encoder with
the installed versions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from adapters_xitt.api.options import store_root
from adapters_xitt.study.results import versions

if TYPE_CHECKING:
    from torch import Tensor

    from adapters_xitt.model.adapted import AdaptedEncoder

GOOD, BAD, NOTE = "ok", "bad", "note"
# the same operations in the same order; the same sum in another order, fp32
EXACT, CLOSE = 0.0, 1e-5


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    state: str  # ok, note or bad
    text: str  # in words to act on


def doctor(*, store: str | Path | None = None) -> Iterator[Check]:
    """Checks versions, devices, disk and, on a small random encoder, the laws that the numbers rest
    on, one after the other.

    >>> laws = [check for check in doctor(store="docs") if check.text.startswith("law:")]
    >>> {check.state for check in laws}
    {'ok'}
    """
    for name, version in versions().items():
        if version == "not installed":
            yield Check(BAD, f"{name} {version}: pip install adapters-xitt")
        else:
            yield Check(GOOD, f"{name} {version}")
    yield from _devices()
    yield from _places(store_root(store))
    yield from _risks()
    for name, law in LAWS.items():
        try:
            error, bound = law()
        # whatever a library's new version throws is what the user came to hear
        except Exception as broken:
            yield Check(BAD, f"law: {name}: {type(broken).__name__}: {broken}")
            continue
        text = f"law: {name} (off by {error:.1e}, at most {bound:.0e})"
        yield Check(GOOD if error <= bound else BAD, text)


def _devices() -> Iterator[Check]:
    import torch

    yield Check(GOOD, f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            free, whole = torch.cuda.mem_get_info(index)
            name = torch.cuda.get_device_name(index)
            memory = f"{free / 2**30:.1f} of {whole / 2**30:.1f} GiB free"
            yield Check(GOOD, f"cuda {index}: {name}, {memory}")
    elif shutil.which("nvidia-smi"):
        yield Check(
            BAD,
            f"an NVIDIA driver is there, but torch {torch.__version__} can't use it: install a CUDA"
            " build of torch that fits the driver (pytorch.org/get-started)",
        )
    if torch.backends.mps.is_available():
        yield Check(GOOD, "mps: an Apple GPU")


def _places(store: Path) -> Iterator[Check]:
    root = store.absolute()
    there = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(there, os.W_OK):
        text = f"store {root}: {there} can't be written; set XITT_STORE or give --store"
        yield Check(BAD, text)
    free = shutil.disk_usage(there).free / 2**30
    state = BAD if free < 0.5 else NOTE if free < 5 else GOOD
    yield Check(state, f"store {root}: {free:.1f} GiB free")
    for variable, use in (
        ("XITT_DATA", "the data folder"),
        ("XITT_ENCODERS", "folders of encoders"),
    ):
        value = os.environ.get(variable)
        if not value:
            text = f"{variable}: not set ({use}); recipes and options can name it"
            yield Check(NOTE, text)
        elif Path(value).is_dir():
            yield Check(GOOD, f"{variable}: {value}")
        else:
            yield Check(BAD, f"{variable}={value}: no such folder")


def _risks() -> Iterator[Check]:
    if find_spec("kernels"):
        yield Check(
            BAD,
            "the package 'kernels' lets a checkpoint's configuration load code: pip uninstall"
            " kernels",
        )


def _sample() -> tuple[AdaptedEncoder, Tensor, Tensor]:
    """A random encoder of 3 layers × 32, two bottlenecks and two low-rank updates in it, and a
    batch."""
    import torch

    from adapters_xitt.model import encoder
    from adapters_xitt.model.adapted import AdaptedEncoder
    from adapters_xitt.model.pretrained import EncoderFiles
    from adapters_xitt.modules.methods import choose

    torch.manual_seed(0)
    shape = dict(
        vocab_size=50,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=40,
        pad_token_id=1,
        type_vocab_size=1,
    )
    adapted = AdaptedEncoder(encoder.load_random(EncoderFiles(Path(), "random", "", shape, 0)))
    for seed, (name, method) in enumerate(
        (("ba", "seq_bn"), ("bb", "seq_bn"), ("ua", "lora"), ("ub", "lora"))
    ):
        adapted.add(name, choose(method, {"reduction": 4} if method == "seq_bn" else {}), seed=seed)
        for parameter in adapted.parameters(name).values():
            torch.nn.init.normal_(parameter, std=0.2)
    ids = torch.randint(5, 50, (4, 12))
    return adapted, ids, torch.ones_like(ids)


def _output(adapted: AdaptedEncoder, ids: Tensor, mask: Tensor, text: str) -> Tensor:
    """What our encoder computes with an expression."""
    import torch

    from adapters_xitt.model.setup import resolve
    from adapters_xitt.modules import composition

    adapted.activate(resolve(composition.parse(text), adapted.methods, 3))
    with torch.no_grad():
        return adapted.encoder.run(adapted.encoder.embed(ids), mask, 0, 3)


def _library_output(adapted: AdaptedEncoder, ids: Tensor, mask: Tensor, setup: object) -> Tensor:
    """What adapters' own model computes."""
    import torch

    adapted.encoder.model.set_active_adapters(setup)
    with torch.no_grad():
        return adapted.encoder.model(ids, attention_mask=mask).last_hidden_state


def _error(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


def _stack() -> tuple[float, float]:
    from adapters.composition import Stack

    adapted, ids, mask = _sample()
    return (
        _error(
            _output(adapted, ids, mask, "ba > bb"),
            _library_output(adapted, ids, mask, Stack("ba", "bb")),
        ),
        CLOSE,
    )


def _fuse() -> tuple[float, float]:
    from adapters.composition import Fuse

    from adapters_xitt.modules.methods import fusion_of

    adapted, ids, mask = _sample()
    adapted.add("f", fusion_of(adapted.methods["ba"], 2), over=("ba", "bb"), seed=9)
    ours = _output(adapted, ids, mask, "f(ba, bb)")
    return _error(ours, _library_output(adapted, ids, mask, Fuse("ba", "bb", name="f"))), CLOSE


def _weights() -> tuple[float, float]:
    """Learned weights over updates start where the last one is alone."""
    from adapters_xitt.modules.methods import fusion_of

    adapted, ids, mask = _sample()
    adapted.add("w", fusion_of(adapted.methods["ua"], 2), over=("ua", "ub"), seed=9)
    return _error(
        _output(adapted, ids, mask, "w(ua, ub)"), _output(adapted, ids, mask, "ub")
    ), CLOSE


def _sum() -> tuple[float, float]:
    """Against the updates written into the weights by hand: W + B·A, alpha = rank."""
    adapted, ids, mask = _sample()
    ours = _output(adapted, ids, mask, "ua + ub")
    named = dict(adapted.encoder.model.named_parameters())
    for name in ("ua", "ub"):
        for place, update in adapted.parameters(name).items():
            if "lora_A" in place:
                up = adapted.parameters(name)[place.replace("lora_A", "lora_B")]
                named[place.replace("lora_A.weight", "base_layer.weight")].data += (
                    up.data @ update.data
                )
    return _error(ours, _output(adapted, ids, mask, "none")), CLOSE * 10


def _commutes() -> tuple[float, float]:
    adapted, ids, mask = _sample()
    return (
        _error(_output(adapted, ids, mask, "ua + ub"), _output(adapted, ids, mask, "ub + ua")),
        CLOSE * 10,
    )


def _trunk() -> tuple[float, float]:
    from adapters_xitt.model.setup import AdapterSetup
    from adapters_xitt.modules.methods import choose

    adapted, ids, mask = _sample()
    adapted.add("high", choose("seq_bn", {"reduction": 4, "leave_out": [0, 1]}), seed=9)
    whole = _output(adapted, ids, mask, "high")
    adapted.activate(AdapterSetup((), (), None, 2))
    trunk = adapted.encoder.run(adapted.encoder.embed(ids), mask, 0, 2)
    adapted.activate(AdapterSetup(("high",), (), None, 2))
    return _error(whole, adapted.encoder.run(trunk, mask, 2, 3)), EXACT


def _frozen() -> tuple[float, float]:
    """The encoder's bits after a step that trains one module of a stack, and the gradients of the
    others."""
    import torch

    adapted, ids, mask = _sample()
    before = {name: value.clone() for name, value in adapted.encoder.weights().items()}
    trained = adapted.parameters("bb").values()
    for parameter in trained:
        parameter.requires_grad_(True)
    from adapters_xitt.model.setup import AdapterSetup

    adapted.activate(AdapterSetup(("ba", "bb"), (), None, 0))
    adapted.encoder.run(adapted.encoder.embed(ids), mask, 0, 3).square().mean().backward()
    torch.optim.AdamW(trained, lr=0.1).step()
    strays = sum(
        parameter.grad is not None for parameter in adapted.encoder.model.parameters()
    ) - len(trained)
    changed = sum(
        not torch.equal(before[name], value) for name, value in adapted.encoder.weights().items()
    )
    return float(abs(strays) + changed), EXACT


LAWS: dict[str, Callable[[], tuple[float, float]]] = {
    "a stack is what adapters computes": _stack,
    "a fusion is what adapters computes": _fuse,
    "a sum is the updates added to the weights": _sum,
    "learned weights start at the last update alone": _weights,
    "sums commute": _commutes,
    "a shared trunk changes nothing": _trunk,
    "training changes only what is declared": _frozen,
}
