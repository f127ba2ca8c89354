"""The means to need less memory change nothing they may not; the account counts what really is
alive."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pico
import pytest
import torch
from lightning_fabric import Fabric
from pico import CHOICES, LAYERS, RATES
from torch import nn

from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS, heads
from adapters_xitt.model import encoder, quantization
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.model.pretrained import EncoderFiles
from adapters_xitt.modules.methods import choose
from adapters_xitt.sizes import parse, show
from adapters_xitt.study.store import Store
from adapters_xitt.training import memory
from adapters_xitt.training.memory import MemoryPlan, Workload, account, choice
from adapters_xitt.training.memory.account import moments_bytes
from adapters_xitt.training.module import ModuleInTraining
from adapters_xitt.training.settings import Settings

LARGE = EncoderFiles(
    Path("."),
    "xlm-roberta-large",
    "",
    {
        "vocab_size": 250002,
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "pad_token_id": 1,
    },
    559890432,
)
SETUPS = {
    "seq_bn": ("seq_bn", "top"),
    "lora": ("lora", "top"),
    "stack": ("seq_bn", "below > top"),
    "sum": ("lora", "below + top"),
    "full": ("full", "top"),
}


def built(files: EncoderFiles, setup: str = "seq_bn", **how) -> AdaptedEncoder:
    """A rig with the modules of a setup, random and the same whatever the means; gradients on for
    the top one."""
    method, text = SETUPS[setup]
    made = AdaptedEncoder(encoder.load(files, **how))
    for seed, name in enumerate(("below", "top")):
        if name in text:
            made.add(name, CHOICES[method], seed=seed)
            if method != "full":
                pico.randomise(made.parameters(name), method, seed=seed)
    for parameter in made.parameters("top").values():
        parameter.requires_grad_(True)
    made.activate(pico.setup(made, text))
    return made


def gradients(
    made: AdaptedEncoder, setup: str, ids, mask, *, start: int = 0, dropout: float | None = 0.3
):
    """The loss and the gradients of the top module, from a seed."""
    form = pico.setup(made, SETUPS[setup][1])
    found = made.encoder_of(form)
    with made.training(dropout):
        torch.manual_seed(3)
        hidden = found.embed(ids)
        with torch.no_grad():
            hidden = found.run(hidden, mask, 0, start)
        loss = (found.run(hidden, mask, start, LAYERS) * mask[..., None]).square().mean()
        loss.backward()
    return loss.detach(), {
        name: value.grad for name, value in made.parameters("top").items() if value.grad is not None
    }


def curve(
    made: AdaptedEncoder, tokenizer, method: str, *, fabric: Fabric | None = None, steps: int = 6
) -> list[float]:
    """The losses of a short training."""
    made.add("top", CHOICES[method], seed=1)
    callback = pico.Callback()
    row = ModuleInTraining(
        "top",
        "top",
        pico.setup(made, "top"),
        made.trainable("top"),
        {pico.space("pair"): pico.head("pair")},
        RATES[method],
    )
    settings = Settings(evaluate_every=steps, warmup=0.0)
    pico.train(
        [row],
        [pico.data("pair", tokenizer, batch_size=8)],
        settings,
        adapted=made,
        fabric=fabric or pico.fabric(),
        seed=1,
        total=steps,
        checkpointer=pico.Checkpointer(),
        callback=callback,
    )
    return [loss for _, _, loss in callback.losses]


# -- checkpointing


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("setup", SETUPS)
def test_checkpointing_keeps_every_bit_with_dropout_on(pico_files, pico_tokenizer, setup, every):
    ids, mask = pico.batch(pico_tokenizer)
    loss, plain = gradients(built(pico_files, setup), setup, ids, mask)
    again, found = gradients(built(pico_files, setup, checkpointing=every), setup, ids, mask)
    assert torch.equal(loss, again) and plain and pico.same(plain, found)
    other, _ = gradients(built(pico_files, setup), setup, ids, mask, dropout=0.2)
    assert not torch.equal(loss, other), "dropout has no effect here, so nothing was shown"


@pytest.mark.parametrize("start", [1, 2, 3])
def test_checkpointing_above_a_trunk_keeps_every_bit(pico_files, pico_tokenizer, start):
    ids, mask = pico.batch(pico_tokenizer)
    plain = gradients(built(pico_files), "seq_bn", ids, mask, start=start)
    found = gradients(built(pico_files, checkpointing=2), "seq_bn", ids, mask, start=start)
    assert torch.equal(plain[0], found[0]) and plain[1] and pico.same(plain[1], found[1])


def layers_run(made: AdaptedEncoder) -> list[int]:
    """A list that grows by a layer's number each time it runs."""
    ran: list[int] = []
    for at, layer in enumerate(made.encoder.model.encoder.layer):
        layer.register_forward_pre_hook(lambda module, inputs, at=at: ran.append(at))
    return ran


@pytest.mark.parametrize("every,twice", [(None, []), (1, [3, 2, 1, 0]), (2, [3, 1]), (3, [2])])
def test_only_the_nth_layers_run_twice_and_only_with_gradients(
    pico_files, pico_tokenizer, every, twice
):
    ids, mask = pico.batch(pico_tokenizer)
    made = built(pico_files, checkpointing=every)
    ran = layers_run(made)
    pico.states(made, pico.setup(made, "top"), ids, mask)
    assert ran == [0, 1, 2, 3]
    ran.clear()
    gradients(made, "seq_bn", ids, mask)
    assert ran == [0, 1, 2, 3, *twice]


def test_layers_below_the_first_module_run_once(pico_files, pico_tokenizer):
    ids, mask = pico.batch(pico_tokenizer)
    made = AdaptedEncoder(encoder.load(pico_files, checkpointing=1))
    made.add("top", choose("seq_bn", {"reduction": 4, "leave_out": (0, 1)}), seed=1)
    made.parameters("top")
    for parameter in made.parameters("top").values():
        parameter.requires_grad_(True)
    made.activate(pico.setup(made, "top"))
    ran = layers_run(made)
    gradients(made, "seq_bn", ids, mask)
    assert ran == [0, 1, 2, 3, 3, 2]


# -- the word table


@pytest.mark.parametrize("embeddings", ["cut", "host"])
def test_a_table_held_otherwise_gives_the_same_bits(pico_files, pico_tokenizer, embeddings):
    ids, mask = pico.batch(pico_tokenizer)
    how = {"embeddings": embeddings, **({"ids": ids.flatten()} if embeddings == "cut" else {})}
    plain, held = built(pico_files), built(pico_files, **how)
    assert torch.equal(plain.encoder.embed(ids), held.encoder.embed(ids))
    form = pico.setup(plain, "top")
    assert torch.equal(pico.states(plain, form, ids, mask), pico.states(held, form, ids, mask))
    assert not held.encoder.embed(ids).requires_grad


def test_a_cut_table_keeps_the_special_tokens_and_names_what_it_lacks(pico_files, pico_tokenizer):
    vocabulary = pico_files.config["vocab_size"]
    cut = encoder.load(pico_files, embeddings="cut", ids=torch.tensor([9, 7, 9]))
    assert cut.model.embeddings.word_embeddings.weight.shape[0] == 7
    kept = torch.tensor([[0, 1, 2, 3, 7, 9, vocabulary - 1]])
    whole = encoder.load(pico_files)
    assert torch.equal(cut.embed(kept), whole.embed(kept))
    with pytest.raises(XittError, match=r"no row for \[8, 10\]"):
        cut.embed(torch.tensor([[0, 8, 10, 2]]))
    with pytest.raises(ValueError, match="the table has"):
        encoder.load(pico_files, embeddings="cut", ids=torch.tensor([vocabulary]))


def test_a_decoder_tied_to_the_table_gets_all_of_it_or_an_error(pico_files):
    whole = encoder.load(pico_files).table
    assert torch.equal(encoder.load(pico_files, embeddings="host").table, whole)
    assert len(whole) == pico_files.config["vocab_size"]
    with pytest.raises(XittError, match="softmax is over the whole vocabulary"):
        _ = encoder.load(pico_files, embeddings="cut", ids=torch.tensor([9])).table


def test_a_table_on_the_host_stays_there(pico_files):
    held = encoder.load(pico_files, embeddings="host")
    before = held.model.embeddings.word_embeddings.weight.clone()
    held.model.to("meta")
    assert held.device.type == "meta"
    assert torch.equal(held.model.embeddings.word_embeddings.weight, before)


@pytest.mark.parametrize("how", [{"embeddings": "host"}, {"embeddings": "cut"}])
def test_full_fine_tuning_needs_the_table_whole(pico_files, how):
    ids = {"ids": torch.arange(9)} if how["embeddings"] == "cut" else {}
    with pytest.raises(XittError, match="embeddings must be whole"):
        AdaptedEncoder(encoder.load(pico_files, **how, **ids)).add("top", CHOICES["full"])


def test_the_default_names_and_bits_are_those_of_the_file(pico_files):
    plain = encoder.load(pico_files).weights()
    assert pico.same(encoder.load(pico_files, embeddings="host", checkpointing=1).weights(), plain)
    assert "embeddings.word_embeddings.weight" in plain


@pytest.mark.parametrize("method", ["seq_bn", "lora"])
@pytest.mark.parametrize(
    "how",
    [
        {"embeddings": "cut"},
        {"embeddings": "host"},
        {"checkpointing": 1},
        {"checkpointing": 2, "embeddings": "host"},
    ],
)
def test_a_training_curve_is_the_same_to_the_bit(pico_files, pico_tokenizer, method, how):
    ids = (
        {"ids": torch.arange(0, pico_files.config["vocab_size"] - 40)}
        if how.get("embeddings") == "cut"
        else {}
    )
    plain = curve(pico.adapted(pico_files), pico_tokenizer, method)
    held = AdaptedEncoder(encoder.load(pico_files, **how, **ids))
    assert curve(held, pico_tokenizer, method) == plain
    assert max(plain) > min(plain) + 0.05, "nothing was learned, so nothing was shown"


# -- precision of the base


@pytest.mark.parametrize("method", ["seq_bn", "lora"])
def test_a_bf16_base_stays_near(pico_files, pico_tokenizer, method):
    plain = curve(pico.adapted(pico_files), pico_tokenizer, method)
    half = curve(
        AdaptedEncoder(encoder.load(pico_files, **MemoryPlan(base="bf16").encoder_options())),
        pico_tokenizer,
        method,
        fabric=Fabric(accelerator="cpu", devices=1, precision="bf16-mixed"),
    )
    assert max(abs(a - b) for a, b in zip(plain, half, strict=True)) < 0.05 * max(plain)
    assert plain != half


@pytest.mark.parametrize("method", ["seq_bn", "lora"])
def test_an_fp16_base_with_a_scaler_of_its_own_stays_near(pico_files, pico_tokenizer, method):
    """Two rows' worth of what `train` is to do: scaled backward, unscale before the clip, a step
    the scaler skips on overflow, and a scaler whose state goes through a checkpoint."""
    ids, mask = pico.batch(pico_tokenizer)
    labels = torch.tensor([0, 1, 2, 1, 0, 2])

    def run(dtype: torch.dtype) -> list[float]:
        made = AdaptedEncoder(encoder.load(pico_files, dtype=dtype))
        made.add("top", CHOICES[method], seed=1)
        head, found = pico.head("pair"), []
        head.eval()
        trained = [*made.parameters("top").values(), *head.parameters()]
        for parameter in trained:
            parameter.requires_grad_(True)
        made.activate(pico.setup(made, "top"))
        optimizer = torch.optim.AdamW(trained, lr=1e-3)
        half = dtype == torch.float16
        # overflows: the first steps are skipped
        scaler = torch.amp.GradScaler("cpu", enabled=half, init_scale=2.0**40)
        for step in range(40):
            with torch.autocast("cpu", dtype=torch.float16, enabled=half):
                logits = head(made.encoder.run(made.encoder.embed(ids), mask, 0, LAYERS), mask)
            loss = KINDS["pair"].loss(logits, {"label": labels}) / 6
            scaler.scale(loss).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(trained, 1.0)
            before = trained[0].detach().clone()
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad(set_to_none=True)
            if not torch.equal(before, trained[0]):
                found.append(float(loss.detach()))
            if half and step == 2:
                state = scaler.state_dict()
                assert set(state) == {
                    "scale",
                    "growth_factor",
                    "backoff_factor",
                    "growth_interval",
                    "_growth_tracker",
                }
                assert state["scale"] < 2.0**40, "no overflow was met"
                scaler = torch.amp.GradScaler("cpu")
                scaler.load_state_dict(state)
        return found[:8]

    plain, half = run(torch.float32), run(torch.float16)
    assert len(plain) == len(half) == 8
    assert max(abs(a - b) for a, b in zip(plain, half, strict=True)) < 0.01 * max(plain)
    assert plain[-1] < 0.98 * plain[0]


# -- packed products


def stand_in8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """bitsandbytes' row-wise int8, by its formula."""
    scales = weight.float().abs().amax(1).clamp_min(1e-12)
    return (weight.float() / scales[:, None] * 127).round().to(torch.int8), scales


@pytest.fixture(params=["stand-in", "8", "4"])
def bits(request, monkeypatch) -> int:
    """8 bits by the formula where bitsandbytes is not there; else its own 8 and 4."""
    if request.param == "stand-in":
        monkeypatch.setitem(quantization._PACK, 8, stand_in8)
        monkeypatch.setattr(quantization, "find_spec", lambda name: object())
        return 8
    pytest.importorskip("bitsandbytes")
    return int(request.param)


def linears(made: encoder.Encoder) -> dict[str, nn.Linear]:
    """The encoder's own products by name, in the files' order."""
    return {
        encoder.own_name(f"{name}.weight"): layer
        for name, layer in made.model.named_modules()
        if isinstance(getattr(layer, "weight", None), quantization.Packed)
    }


@pytest.mark.parametrize("setup", ["seq_bn", "lora", "stack", "sum"])
def test_a_packed_encoder_is_the_plain_one_with_rounded_weights(
    pico_files, pico_tokenizer, bits, setup
):
    """The reference is a plain encoder into which the unpacked weights were written."""
    ids, mask = pico.batch(pico_tokenizer)
    packed, plain = built(pico_files, setup, bits=bits), built(pico_files, setup)
    found = linears(packed.encoder)
    assert len(found) == 6 * LAYERS
    own = plain.encoder.weights()
    with torch.no_grad():
        for name, layer in found.items():
            unpacked = layer.weight.unpack(torch.float32)
            assert 0 < pico.gap(unpacked, own[name]) < (0.01 if bits == 8 else 0.17)
            own[name].copy_(unpacked)
    loss, one = gradients(plain, setup, ids, mask, dropout=0.0)
    again, two = gradients(packed, setup, ids, mask, dropout=0.0)
    assert len(one) == len(two) == len(packed.parameters("top")), (
        "a gradient reaches every tensor of the module"
    )
    assert abs(loss - again) <= 1e-6 * loss
    assert max(pico.gap(two[name], one[name]) for name in one) <= 1e-4


def test_a_packed_base_keeps_its_bits_and_checkpoints_exactly(pico_files, pico_tokenizer, bits):
    ids, mask = pico.batch(pico_tokenizer)
    one, two = built(pico_files, bits=bits), built(pico_files, bits=bits, checkpointing=1)
    before = {name: value.clone() for name, value in one.encoder.weights().items()}
    assert pico.same(gradients(one, "seq_bn", ids, mask)[1], gradients(two, "seq_bn", ids, mask)[1])
    assert pico.same(before, one.encoder.weights())
    assert before["encoder.layer.0.output.dense.weight"].dtype in (torch.int8, torch.uint8)
    assert before["embeddings.word_embeddings.weight"].dtype == torch.float32


def test_a_packed_base_trains_under_autocast(pico_files, pico_tokenizer, bits):
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    means = MemoryPlan(base=f"{bits}bit").encoder_options()
    for method in ("seq_bn", "lora"):
        made = AdaptedEncoder(encoder.load(pico_files, **means))
        losses = curve(made, pico_tokenizer, method, fabric=fabric)
        plain = curve(pico.adapted(pico_files), pico_tokenizer, method)
        assert max(abs(a - b) for a, b in zip(plain, losses, strict=True)) < (
            0.1 if bits == 8 else 0.4
        ) * max(plain)
        assert {value.dtype for value in made.parameters("top").values()} == {torch.float32}


def test_a_packed_weight_keeps_no_input(pico_files, bits):
    """bitsandbytes' own 8-bit product keeps them on its context, where no hook sees them."""
    layer = nn.Linear(32, 64)
    quantization.pack(nn.Sequential(layer), bits)
    layer.requires_grad_(False)
    x = torch.randn(5, 32, requires_grad=True)
    inner = x * 2
    storage = weakref.ref(inner.untyped_storage())
    out = layer(inner)
    del inner
    assert storage() is None
    out.sum().backward()
    assert pico.gap(x.grad[0], 2 * layer.weight.unpack(torch.float32).sum(0)) < 1e-6


@pytest.mark.parametrize("kind,bits", [("Linear8bitLt", 8), ("Linear4bit", 4)])
def test_the_products_are_those_of_bitsandbytes(kind, bits):
    bnb = pytest.importorskip("bitsandbytes")
    torch.manual_seed(1)
    plain = nn.Linear(128, 64)
    special = {8: {"has_fp16_weights": False}, 4: {"quant_type": "nf4"}}[bits]
    theirs = getattr(bnb.nn, kind)(128, 64, **special)
    theirs.load_state_dict(plain.state_dict())
    theirs = theirs.to("cpu")
    quantization.pack(nn.Sequential(plain), bits)
    one, two = torch.randn(9, 128).requires_grad_(), None
    two = one.detach().clone().requires_grad_()
    ours, other = plain(one), theirs(two)
    ours.square().sum().backward()
    other.square().sum().backward()
    assert pico.gap(ours, other) < 1e-5 and pico.gap(one.grad, two.grad) < 1e-5


@pytest.mark.skipif(find_spec("bitsandbytes") is not None, reason="bitsandbytes is there")
def test_without_the_package_the_extra_is_named(pico_files):
    with pytest.raises(XittError, match=r"pip install 'adapters-xitt\[quant\]'"):
        encoder.load(pico_files, bits=4)


def test_full_fine_tuning_needs_plain_weights(pico_files, bits):
    with pytest.raises(XittError, match="can't be packed"):
        AdaptedEncoder(encoder.load(pico_files, bits=bits)).add("top", CHOICES["full"])


# -- the account against a real run on the CPU


def counted(
    files: EncoderFiles,
    method: str,
    means: MemoryPlan,
    *,
    dropout: float,
    features: int,
    length: int,
) -> tuple[int, int]:
    """Bytes that autograd saves in a real forward pass, by data pointer; and the most that the
    profiler saw allocated over what was there, forward and backward."""
    made = AdaptedEncoder(encoder.load(files, **means.encoder_options()))
    made.add("module", CHOICES[method], seed=1)
    head = heads.build("pair", files, 3, seed=1)
    form = pico.setup(made, "module")
    trained = [*made.parameters("module").values(), *head.parameters()]
    for parameter in trained:
        parameter.requires_grad_(True)
    made.activate(form)
    ids, mask = torch.full((features, length), 9), torch.ones(features, length, dtype=torch.long)
    model = made.encoder_of(form).model
    own = {
        tensor.untyped_storage().data_ptr()
        for tensor in (*model.parameters(), *model.buffers(), *trained)
    }
    sizes, kept = {}, []

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
            kept.append(storage)
        return tensor

    def loss():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=means.base == "bf16"):
            found = made.encoder_of(form)
            hidden = found.run(found.embed(ids), mask, 0, found.layers)
            return KINDS["pair"].loss(
                head(hidden, mask), {"label": torch.zeros(features, dtype=torch.long)}
            )

    with made.training(dropout):
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss()
        kept.clear()
        with torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
        ) as seen:
            loss().backward()
    now = peak = 0
    events = [
        event for event in seen.profiler.kineto_results.events() if event.name() == "[memory]"
    ]
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return sum(sizes.values()), peak


@pytest.mark.parametrize("base", ["32", "bf16"])
@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize("method", ["seq_bn", "lora", "head", "full"])
def test_what_autograd_saves_is_counted_as_it_is(pico_files, method, dropout, base):
    if method == "full" and base != "32":
        pytest.skip("full is trained in fp32")
    means = MemoryPlan(base=base, tokens=480)
    found = account(
        pico_files,
        CHOICES[method],
        means,
        Workload(length=40, step_tokens=480, dropout=dropout, device="cpu"),
    )
    saved, peak = counted(pico_files, method, means, dropout=dropout, features=12, length=40)
    # Above the first parameter that is trained, every layer norm keeps a mean and a deviation for
    # each token, on the meta device in fp32 as CUDA does; the CPU's keep them in bf16.
    norms = (
        {"seq_bn": 3 * LAYERS - 2, "lora": 2 * LAYERS, "head": 0}[method] if base == "bf16" else 0
    )
    assert found.saved - norms * 2 * 2 * 480 == saved > 0
    assert found.alive == pytest.approx(peak, rel=0.02 if base == "bf16" else 1e-3)


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("method", ["seq_bn", "lora"])
def test_a_checkpointed_layer_is_counted_as_it_is(pico_files, method, every):
    means = MemoryPlan(checkpointing=every, tokens=480)
    found = account(
        pico_files,
        CHOICES[method],
        means,
        Workload(length=40, step_tokens=480, dropout=0.1, device="cpu"),
    )
    saved, peak = counted(pico_files, method, means, dropout=0.1, features=12, length=40)
    assert found.saved == saved > 0
    # the generator's, kept to draw the same dropout
    states = (LAYERS // every + 1) * torch.get_rng_state().nbytes
    assert found.alive + states == pytest.approx(peak, rel=1e-3)
    plain = account(
        pico_files,
        CHOICES[method],
        replace(means, checkpointing=None),
        Workload(length=40, step_tokens=480, dropout=0.1, device="cpu"),
    )
    assert found.total < plain.total


def test_weights_and_moments_are_counted(pico_files):
    sizes = {name: value.nbytes for name, value in encoder.load(pico_files).weights().items()}
    table = sizes.pop("embeddings.word_embeddings.weight")
    workload = Workload(length=40, step_tokens=480)
    found = partial(account, pico_files, CHOICES["seq_bn"], workload=workload)
    plain = found(MemoryPlan(tokens=480))
    buffers = sum(value.nbytes for name, value in encoder.load(pico_files).model.named_buffers())
    assert (plain.weights, plain.embeddings) == (sum(sizes.values()) + buffers, table)
    made = pico.adapted(pico_files)
    made.add("m", CHOICES["seq_bn"])
    head = heads.build("pair", made.encoder, 3, seed=0)
    trained = [*made.parameters("m").values(), *head.parameters()]
    optimizer = torch.optim.AdamW(trained)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = sum(
        state[name].nbytes
        for state in optimizer.state.values()
        for name in ("exp_avg", "exp_avg_sq")
    )
    assert plain.module == plain.gradients == sum(parameter.nbytes for parameter in trained)
    assert plain.moments == moments
    half = found(MemoryPlan(tokens=480, base="bf16"))
    assert half.embeddings * 2 == table and half.weights - buffers == (plain.weights - buffers) // 2
    assert half.module == plain.module
    assert found(MemoryPlan(tokens=480, embeddings="host")).embeddings == 0


def test_moments_in_8_bits_are_counted_as_bitsandbytes_makes_them():
    bnb = pytest.importorskip("bitsandbytes")
    for size in (100, 4096, 5000):
        parameter = nn.Parameter(torch.randn(size))
        optimizer = bnb.optim.AdamW8bit([parameter])
        parameter.grad = torch.randn(size)
        optimizer.step()
        state = optimizer.state[parameter]
        held = sum(
            state[name].nbytes
            for name in ("state1", "state2", "absmax1", "absmax2")
            if name in state
        )
        assert moments_bytes(size, "8bit") == held


def test_moments_in_8_bits_resume_to_the_bit():
    """What a checkpoint needs of them: the tensors by name, and the step, a plain number."""
    bnb = pytest.importorskip("bitsandbytes")
    torch.manual_seed(1)
    steps = [torch.randn(5000) for _ in range(6)]

    def run(kept: dict | None, parameter: torch.Tensor, gradients: list[torch.Tensor]):
        parameter = nn.Parameter(parameter.clone())
        optimizer = bnb.optim.AdamW8bit([parameter], lr=1e-2)
        if kept:
            optimizer.state[parameter] = {
                name: value.clone() if isinstance(value, torch.Tensor) else value
                for name, value in kept.items()
            }
        for gradient in gradients:
            parameter.grad = gradient.clone()
            optimizer.step()
        return parameter.detach(), optimizer.state[parameter]

    whole, state = run(None, torch.ones(5000), steps)
    assert (
        set(state) == {"step", "state1", "state2", "qmap1", "qmap2", "absmax1", "absmax2"}
        and state["step"] == 6
    )
    half, kept = run(None, torch.ones(5000), steps[:3])
    assert torch.equal(run(kept, half, steps[3:])[0], whole)
    assert not torch.equal(run(None, half, steps[3:])[0], whole)


def test_a_packed_weight_is_counted_as_bitsandbytes_holds_it():
    pytest.importorskip("bitsandbytes")
    weight = torch.randn(64, 512)
    for bits in (8, 4):
        real, hollow = (
            quantization.Packed.of(weight, bits),
            quantization.Packed.of(weight.to("meta"), bits),
        )
        held = (
            real.state.nbytes
            if bits == 8
            else real.state.absmax.nbytes + real.state.state2.absmax.nbytes
        )
        assert real.nbytes_held() == hollow.nbytes_held() == real.data.nbytes + held


def test_the_second_micro_batch_finds_the_gradients_of_the_first(pico_files):
    plan = MemoryPlan(tokens=480, checkpointing=1)
    totals = [
        account(
            pico_files, CHOICES["seq_bn"], plan, Workload(length=40, step_tokens=step_tokens)
        ).total
        for step_tokens in (960, 480)
    ]
    assert totals[0] > totals[1]


# -- XLM-R Large at 4,096 tokens a step


@pytest.mark.parametrize("method", ["seq_bn", "lora"])
@pytest.mark.parametrize(
    "means,limit",
    [
        (MemoryPlan(base="bf16", embeddings="cut"), "4GiB"),
        (MemoryPlan(base="bf16", embeddings="cut", checkpointing=1), "1.6GiB"),
        (MemoryPlan(base="4bit", embeddings="host", checkpointing=1, optimizer="8bit"), "0.8GiB"),
        (MemoryPlan(base="4bit", embeddings="host", checkpointing=1, tokens=2048), "0.8GiB"),
    ],
)
def test_one_module_on_xlmr_large_fits(method, means, limit):
    found = account(LARGE, choose(method, {}), means, Workload(vocabulary=50_000))
    assert found.total <= parse(limit)
    assert found.saved > 100 * 2**20 and found.weights > 100 * 2**20


# -- the choice


def totals(files: EncoderFiles, steps: list[tuple[str, MemoryPlan]]) -> list[int]:
    return [
        account(
            files, CHOICES["seq_bn"], means, Workload(vocabulary=40, length=40, step_tokens=960)
        ).total
        for _, means in steps
    ]


@pytest.fixture()
def with_package(monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: object())


def test_the_first_means_that_fit_are_chosen_in_order(pico_files, with_package):
    steps = memory.ladder(tokens=960, vocabulary=40, least=240)
    assert [means for _, means in steps[:6]] == [
        MemoryPlan(tokens=960),
        MemoryPlan(tokens=960, embeddings="cut"),
        MemoryPlan(tokens=960, embeddings="cut", base="bf16"),
        MemoryPlan(tokens=960, embeddings="host", base="bf16"),
        MemoryPlan(tokens=960, embeddings="host", base="bf16", checkpointing=2),
        MemoryPlan(tokens=960, embeddings="host", base="bf16", checkpointing=1),
    ]
    assert [means.tokens for _, means in steps[6:8]] == [480, 240]
    assert steps[8][1].optimizer == "8bit" and [means.base for _, means in steps[9:]] == [
        "8bit",
        "4bit",
    ]
    sizes = totals(pico_files, steps)
    ask = partial(
        memory.choose,
        files=pico_files,
        method=CHOICES["seq_bn"],
        workload=Workload(step_tokens=960, vocabulary=40, length=40),
        least=240,
    )
    lowest = sizes[0] + 1
    for (words, means), size in zip(steps, sizes, strict=True):
        chosen, lines = ask(size)
        if size < lowest:  # a step that saves nothing here is passed by
            assert replace(chosen, room=None) == means and lines[-2].startswith(words)
            assert 0 < chosen.room < size, "what modules side by side may take"
            assert lines[-1] == f"chosen for {show(size)}: {memory.describe(means)}"
        lowest = min(lowest, size)
    assert sizes[-1] < sizes[0] / 2


def test_nothing_fits_and_the_least_is_named(pico_files, with_package):
    with pytest.raises(XittError) as told:
        memory.choose(
            2**10,
            pico_files,
            CHOICES["seq_bn"],
            Workload(step_tokens=960, vocabulary=40, length=40),
            least=240,
        )
    least = min(totals(pico_files, memory.ladder(tokens=960, vocabulary=40, least=240)))
    assert f"takes at least {show(least)}" in str(told.value) and "bitsandbytes" not in str(
        told.value
    )


def test_without_the_package_its_means_are_passed_over_and_named(pico_files, monkeypatch):
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    with pytest.raises(XittError) as told:
        memory.choose(
            2**10,
            pico_files,
            CHOICES["seq_bn"],
            Workload(step_tokens=960, vocabulary=40, length=40),
        )
    assert "pip install 'adapters-xitt[quant]'" in str(told.value)
    assert "frozen products in 4 bits" not in str(told.value) and "moments in 8 bits" not in str(
        told.value
    )


def test_what_a_run_may_not_do_is_not_on_its_ladder():
    all_of = {
        name
        for _, means in memory.ladder(tokens=4096, vocabulary=99, mlm=True)
        for name in (means.embeddings,)
    }
    assert all_of == {"whole"}
    full = [means for _, means in memory.ladder(tokens=4096, vocabulary=99, whole=True)]
    assert {(means.base, means.embeddings) for means in full} == {("32", "whole")} and len(full) > 5
    exact = [means for _, means in memory.ladder(tokens=4096, vocabulary=99, bases=("32",))]
    assert {means.base for means in exact} == {"32"} and {means.optimizer for means in exact} == {
        "32"
    }


# -- words


@pytest.mark.parametrize(
    "text,size",
    [
        ("4GiB", 2**32),
        ("1.5 GiB", 3 * 2**29),
        ("800MB", 800 * 10**6),
        ("1,5gib", 3 * 2**29),
        (" 512 KiB ", 2**19),
        ("8GB", 8 * 10**9),
    ],
)
def test_sizes_are_read(text, size):
    assert parse(text) == size


@pytest.mark.parametrize(
    "text", ["4", "GiB", "4 G", "-4GiB", "4GiBs", "0GiB", "", "4 GiB 2", "1e9B"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(XittError, match="memory"):
        parse(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"base": "fp8"},
        {"embeddings": "gone"},
        {"optimizer": "16"},
        {"tokens": 0},
        {"checkpointing": 0},
    ],
)
def test_means_that_there_are_not(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MemoryPlan(**wrong)


def test_running_out_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as told:
        torch.empty(2**58, dtype=torch.uint8)
    assert memory.out_of_memory(told.value)
    assert memory.out_of_memory(
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
    )
    assert memory.out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as told:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not memory.out_of_memory(told.value)
    assert not memory.out_of_memory(ValueError("out of memory"))


# -- a step that does not fit


class Narrow:
    """A device on which a batch of more than `most` tokens does not fit; `other` is what else may
    go wrong."""

    def __init__(self, made, most: int, other: Exception | None = None) -> None:
        self.inner, self.most, self.other, self.refused = made.encoder.run, most, other, 0

    def __call__(self, hidden, mask, start, stop):
        if torch.is_grad_enabled() and mask.numel() > self.most:
            self.refused += 1
            raise self.other or torch.OutOfMemoryError("CUDA out of memory")
        return self.inner(hidden, mask, start, stop)


def stepped(
    files, tokenizer, *, tokens: int, most: int | None = None, other: Exception | None = None
):
    """The losses of six steps of two rows, what was said, and how often a batch did not fit."""
    made, callback = pico.adapted(files), pico.Callback()
    rows = []
    for name, method in (("a", "seq_bn"), ("b", "lora")):
        made.add(name, CHOICES[method], seed=1)
        rows.append(
            ModuleInTraining(
                name,
                name,
                pico.setup(made, name),
                made.trainable(name),
                {pico.space("pair"): pico.head("pair")},
                RATES[method],
            )
        )
    narrow = Narrow(made, most or 10**9, other)
    made.encoder.run = narrow
    pico.train(
        rows,
        [pico.data("pair", tokenizer, batch_size=8)],
        Settings(evaluate_every=6, dropout=0.0, tokens=tokens),
        adapted=made,
        fabric=pico.fabric(),
        seed=1,
        total=6,
        checkpointer=pico.Checkpointer(),
        callback=callback,
    )
    return [loss for _, _, loss in callback.losses], getattr(callback, "said", []), narrow.refused


def still_heads(monkeypatch) -> None:
    """Dropout of heads is drawn micro-batch by micro-batch: without it, their number does not
    matter."""
    monkeypatch.setattr("adapters_xitt.kinds.pair.DROPOUT", 0.0)
    monkeypatch.setattr(torch.nn.Dropout, "forward", lambda self, hidden: hidden)


def test_running_out_of_memory_halves_the_micro_batch_and_keeps_the_effective_one(
    pico_files, pico_tokenizer, monkeypatch
) -> None:
    still_heads(monkeypatch)
    want, said, _ = stepped(pico_files, pico_tokenizer, tokens=400)
    assert not said
    losses, said, refused = stepped(pico_files, pico_tokenizer, tokens=400, most=110)
    assert refused and len(said) == refused, "said every time"
    assert "micro-batches of 100 tokens" in said[-1]
    assert losses == pytest.approx(want, rel=1e-5)


def test_what_cannot_fit_is_told_and_what_is_no_lack_of_memory_is_not_hidden(
    pico_files, pico_tokenizer
) -> None:
    with pytest.raises(XittError, match="out of memory with one sequence"):
        stepped(pico_files, pico_tokenizer, tokens=400, most=5)
    with pytest.raises(RuntimeError, match="something else"):
        stepped(
            pico_files, pico_tokenizer, tokens=400, most=110, other=RuntimeError("something else")
        )


@pytest.mark.parametrize(
    "words",
    [
        ("precision='16'",),
        ("checkpointing=1",),
        ("memory=2MiB",),
        ("precision=bf16", "embeddings=host"),
    ],
    ids=str,
)
def test_a_recipe_runs_in_little_memory(words, tmp_path, pico_dir, pico_world) -> None:
    """Through the console script: what a recipe says of memory is done; what changes no number
    changes none."""
    import pico_world as world
    from test_run import outcome, xitt

    recipe = world.recipe(tmp_path / "grid.yaml", pico_dir, pico_world)
    small = ("seeds=[1]", "targets=[demo-pairs]", "modes=[none]", "languages=[en, de]")
    xitt("run", recipe, *small, "--store", tmp_path / "plain", "--device", "cpu")
    printed = xitt("run", recipe, *small, *words, "--store", tmp_path / "s", "--device", "cpu")
    plain, found = outcome(tmp_path / "plain"), outcome(tmp_path / "s")
    assert len(found["results"]) == len(plain["results"]) == 4
    if words == ("checkpointing=1",):
        assert found == plain
    if words == ("memory=2MiB",):
        assert "memory, seq_bn(reduction=4): chosen for 2 MiB" in " ".join(printed.split())
    else:
        asked = (
            words[0].removeprefix("precision=").strip("'")
            if words[0].startswith("precision=")
            else "32"
        )
        assert {result.cell.precision for result in Store(tmp_path / "s").results()} == {asked}


def test_too_little_memory_is_told_before_anything_runs(tmp_path, pico_dir, pico_world) -> None:
    import pico_world as world
    from test_run import xitt

    recipe = world.recipe(tmp_path / "grid.yaml", pico_dir, pico_world)
    for words, part in (
        (("memory=1KiB",), "takes at least"),
        (("memory=lots",), "a number and a unit"),
        (("precision=4bit", "methods=[pissa]"), "read or train the encoder's weights"),
        (("embeddings=cut", "intermediates=['demo-nli:text']"), "masked language modelling"),
    ):
        printed = xitt("run", recipe, *words, "--store", tmp_path / "s", "--device", "cpu", code=2)
        assert part in printed and "Traceback" not in printed, printed
    assert not (tmp_path / "s").exists()
