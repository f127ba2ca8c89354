"""Looks at the machine and tries the laws on a small random encoder with the installed versions."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from rich.text import Text

from adapters_xitt.progress import console
from adapters_xitt.study.results import versions
from adapters_xitt.study.store import default_root

GOOD, BAD, NOTE = ("ok  ", "green"), ("bad ", "red"), ("note", "yellow")
Mark = tuple[str, str]  # a word and its colour
# the same operations in the same order; the same sum in another order, fp32
EXACT, CLOSE = 0.0, 1e-5


def examine(store: Path | None) -> bool:
    """Prints what is found, in words to act on; whether all is well."""
    out, well = console(highlight=False, soft_wrap=True), True

    def line(mark: Mark, text: str) -> None:
        out.print(Text.assemble(mark, f" {text}"))

    for name, found in versions().items():
        missing = found == "not installed"
        well &= not missing
        line(
            BAD if missing else GOOD,
            f"{name} {found}" + (": pip install adapters-xitt" if missing else ""),
        )
    for mark, text in (*_devices(), *_places(store), *_risks()):
        well &= mark != BAD
        line(mark, text)
    for name, check in LAWS.items():
        try:
            error, bound = check()
        # whatever a library's new version throws is what the user came to hear
        except Exception as broken:
            line(BAD, f"law: {name}: {type(broken).__name__}: {broken}")
            well = False
            continue
        holds = error <= bound
        well &= holds
        line(GOOD if holds else BAD, f"law: {name} (off by {error:.1e}, at most {bound:.0e})")
    out.print(
        "All is well."
        if well
        else (
            "Something is wrong: see the lines marked bad. The versions that the "
            "project was tested with stand in scripts/locks."
        )
    )
    return well


def _devices() -> Iterator[tuple[Mark, str]]:
    import torch

    yield GOOD, f"cpu: {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    if torch.cuda.is_available():
        for at in range(torch.cuda.device_count()):
            free, whole = torch.cuda.mem_get_info(at)
            yield (
                GOOD,
                (
                    f"cuda {at}: {torch.cuda.get_device_name(at)}, {free / 2**30:.1f} of"
                    f" {whole / 2**30:.1f} GiB free"
                ),
            )
    elif shutil.which("nvidia-smi"):
        yield (
            BAD,
            (
                f"an NVIDIA driver is there, but torch {torch.__version__} can't use it: install a"
                " CUDA build of torch that fits the driver (pytorch.org/get-started)"
            ),
        )
    if torch.backends.mps.is_available():
        yield GOOD, "mps: an Apple GPU"


def _places(store: Path | None) -> Iterator[tuple[Mark, str]]:
    root = (store or default_root()).absolute()
    there = next(path for path in (root, *root.parents) if path.exists())
    if not os.access(there, os.W_OK):
        yield BAD, f"store {root}: {there} can't be written; set XITT_STORE or give --store"
    free = shutil.disk_usage(there).free / 2**30
    yield (BAD if free < 0.5 else NOTE if free < 5 else GOOD), f"store {root}: {free:.1f} GiB free"
    for variable, use in (
        ("XITT_DATA", "the data folder"),
        ("XITT_ENCODERS", "folders of encoders"),
    ):
        value = os.environ.get(variable)
        if value and not Path(value).is_dir():
            yield BAD, f"{variable}={value}: no such folder"
        else:
            told = value or f"not set ({use}); recipes and options can name it"
            yield (GOOD if value else NOTE), f"{variable}: {told}"


def _risks() -> Iterator[tuple[Mark, str]]:
    if find_spec("kernels"):
        yield (
            BAD,
            (
                "the package 'kernels' lets a checkpoint's configuration load code: pip uninstall"
                " kernels"
            ),
        )


def _rig() -> tuple:
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


def _say(adapted, ids, mask, text):
    import torch

    from adapters_xitt.model.setup import resolve
    from adapters_xitt.modules import composition

    adapted.activate(resolve(composition.parse(text), adapted.methods, 3))
    with torch.no_grad():
        return adapted.encoder.run(adapted.encoder.embed(ids), mask, 0, 3)


def _theirs(adapted, ids, mask, setup):
    """What adapters' own model computes."""
    import torch

    adapted.encoder.model.set_active_adapters(setup)
    with torch.no_grad():
        return adapted.encoder.model(ids, attention_mask=mask).last_hidden_state


def _off(one, other) -> float:
    return float((one - other).abs().max())


def _stack() -> tuple[float, float]:
    from adapters.composition import Stack

    adapted, ids, mask = _rig()
    return (
        _off(_say(adapted, ids, mask, "ba > bb"), _theirs(adapted, ids, mask, Stack("ba", "bb"))),
        CLOSE,
    )


def _fuse() -> tuple[float, float]:
    from adapters.composition import Fuse

    from adapters_xitt.modules.methods import fusion_of

    adapted, ids, mask = _rig()
    adapted.add("f", fusion_of(adapted.methods["ba"], 2), over=("ba", "bb"), seed=9)
    ours = _say(adapted, ids, mask, "f(ba, bb)")
    return _off(ours, _theirs(adapted, ids, mask, Fuse("ba", "bb", name="f"))), CLOSE


def _weights() -> tuple[float, float]:
    """Learned weights over updates start where the last one is alone."""
    from adapters_xitt.modules.methods import fusion_of

    adapted, ids, mask = _rig()
    adapted.add("w", fusion_of(adapted.methods["ua"], 2), over=("ua", "ub"), seed=9)
    return _off(_say(adapted, ids, mask, "w(ua, ub)"), _say(adapted, ids, mask, "ub")), CLOSE


def _sum() -> tuple[float, float]:
    """Against the updates written into the weights by hand: W + B·A, alpha = rank."""
    adapted, ids, mask = _rig()
    ours = _say(adapted, ids, mask, "ua + ub")
    named = dict(adapted.encoder.model.named_parameters())
    for name in ("ua", "ub"):
        for place, update in adapted.parameters(name).items():
            if "lora_A" in place:
                up = adapted.parameters(name)[place.replace("lora_A", "lora_B")]
                named[place.replace("lora_A.weight", "base_layer.weight")].data += (
                    up.data @ update.data
                )
    return _off(ours, _say(adapted, ids, mask, "none")), CLOSE * 10


def _commutes() -> tuple[float, float]:
    adapted, ids, mask = _rig()
    return (
        _off(_say(adapted, ids, mask, "ua + ub"), _say(adapted, ids, mask, "ub + ua")),
        CLOSE * 10,
    )


def _trunk() -> tuple[float, float]:
    from adapters_xitt.model.setup import AdapterSetup
    from adapters_xitt.modules.methods import choose

    adapted, ids, mask = _rig()
    adapted.add("high", choose("seq_bn", {"reduction": 4, "leave_out": [0, 1]}), seed=9)
    whole = _say(adapted, ids, mask, "high")
    adapted.activate(AdapterSetup((), (), None, 2))
    trunk = adapted.encoder.run(adapted.encoder.embed(ids), mask, 0, 2)
    adapted.activate(AdapterSetup(("high",), (), None, 2))
    return _off(whole, adapted.encoder.run(trunk, mask, 2, 3)), EXACT


def _frozen() -> tuple[float, float]:
    """The encoder's bits after a step that trains one module of a stack, and the gradients of the
    others."""
    import torch

    adapted, ids, mask = _rig()
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
