"""Merges: their laws over every method, against peft's own functions on matrices written out, and
closed forms."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pico
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_golden import write_encoder
from test_run import xitt

from adapters_xitt.errors import XittError
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.modules import composition, merging
from adapters_xitt.modules import low_rank_merging as low_rank
from adapters_xitt.modules.composition import MERGES
from adapters_xitt.modules.methods import METHODS, choose
from adapters_xitt.modules.serialization import read_manifest
from adapters_xitt.study.store import Store

CLOSE = 1e-5
CHOICES = {
    **pico.CHOICES,
    "wide": choose(
        "lora", {"rank": 2, "alpha": 6, "places": ["query", "up", "down"], "leave_out": [1]}
    ),
}
# whose parameters have a mean
MEAN = pico.NECKS


@pytest.fixture(scope="module")
def modules(pico_files, pico_tokenizer):
    """`modules(method, which, state)`: tensors, made once."""
    made: dict[tuple, dict] = {}

    def get(method: str, which: str, state: str) -> dict:
        at = (method, which, state)
        if at not in made:
            made[at] = pico.module(
                pico_files, pico_tokenizer, CHOICES[method], seed=ord(which), state=state
            )
        return made[at]

    return get


@pytest.fixture(scope="module")
def words(pico_tokenizer):
    return pico.batch(pico_tokenizer)


def made(text: str, parts: dict[str, tuple[dict, object]]) -> merging.MergedTensors:
    return merging.merge_modules(composition.parse(text), parts, pico.LAYERS, pico.WIDTH)


def chosen(text: str, methods: dict[str, object]):
    """The method of the module that an expression is made into."""
    return merging.merged_method(composition.parse(text), methods, pico.LAYERS, pico.WIDTH)


def dense(tensors: dict, choice) -> dict[str, torch.Tensor]:
    """ΔW of every adapted matrix, written out as the papers have it, in fp64."""
    plain, choices = pico.plainly({"a": tensors}, {"a": choice})
    tensors, choice = plain["a"], choices["a"]
    root = choice["rank"] ** (0.5 if choice.name == "rslora" else 1)
    return {
        name.split(".lora_A.")[0]: (
            choice["alpha"]
            / root
            * tensors[name.replace("lora_A", "lora_B")].double()
            @ tensors[name].double()
        )
        for name in tensors
        if ".lora_A." in name
    }


def gap(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> float:
    """The largest distance between two sets of matrices, an absent one being zero."""
    found = 0.0
    for name in {*one, *two}:
        a, b = one.get(name, torch.zeros(1)), two.get(name, torch.zeros(1))
        found = max(found, float((a - b).norm() / max(float(a.norm()), float(b.norm()), 1e-9)))
    return found


def runs(tensors: dict, choice, words, pico_files) -> torch.Tensor:
    adapted = pico.adapted(pico_files)
    adapted.add("m", choice, tensors=tensors)
    return pico.states(adapted, pico.setup(adapted, "m"), *words)


# -- the table: every method × every merge


def mean_of_updates(m, modules, words, pico_files, pico_dir, state):
    """The mean, mounted and run, is W + Σ wᵢΔWᵢ by hand, whatever the ranks, places and scalings;
    its error is nothing; a part alone, or one with all the weight, gives it back; twins give the
    twin; order doesn't matter."""
    parts = {
        "a": (modules(m, "a", state), CHOICES[m]),
        "b": (modules("wide", "b", state), CHOICES["wide"]),
    }
    tensors, methods = (
        {name: pair[0] for name, pair in parts.items()},
        {name: pair[1] for name, pair in parts.items()},
    )
    for text, weights in (
        ("mean(a, b)", {"a": 0.5, "b": 0.5}),
        ("mean(3*a, b)", {"a": 0.75, "b": 0.25}),
        ("mean(2*a, -1*b)", {"a": 2.0, "b": -1.0}),
        ("mean(b, a)", {"a": 0.5, "b": 0.5}),
    ):
        found = made(text, parts)
        ours = runs(found.tensors, chosen(text, methods), words, pico_files)
        assert (
            pico.gap(
                ours,
                pico.ran(pico.by_hand(pico.plain(pico_dir), tensors, methods, weights), *words),
            )
            < CLOSE
        )
        assert max(found.errors.values()) < 1e-6
    one = dense(tensors["a"], CHOICES[m])
    for text in ("mean(a)", "mean(a, 0*b)", "svd(a)", "mean(a, t)", "svd(a, t)"):
        found = made(text, {**parts, "t": parts["a"]})
        choice = chosen(text, {**methods, "t": CHOICES[m]})
        assert (
            gap(
                dense(found.tensors, choice),
                {name: one.get(name, torch.zeros(1)) for name in dense(found.tensors, choice)},
            )
            < CLOSE
        ), text


def signs_of_updates(m, modules, words, pico_files, pico_dir, state):
    """`a + b`, `0.6*a - 0.2*b` made one module say what they say while they run, to rounding."""
    adapted = pico.adapted(pico_files)
    parts = {
        "a": (modules(m, "a", state), CHOICES[m]),
        "b": (modules("wide", "b", state), CHOICES["wide"]),
    }
    for name, (tensors, choice) in parts.items():
        adapted.add(name, choice, tensors=tensors)
    for text in ("a + b", "0.6*a - 0.2*b", "-1*a"):
        running = pico.states(adapted, pico.setup(adapted, text), *words)
        found = made(text, parts)
        choice = chosen(text, {name: pair[1] for name, pair in parts.items()})
        assert pico.gap(runs(found.tensors, choice, words, pico_files), running) < CLOSE, text
        assert found.errors["all"] < 1e-6


def mean_of_parameters(m, modules, words, pico_files, pico_dir, state):
    """The mean of bottlenecks is that of their tensors, by numpy; a part with all the weight gives
    its bits back."""
    parts = {name: (modules(m, name, state), CHOICES[m]) for name in "ab"}
    found = made("mean(3*a, b)", parts)
    assert set(found.tensors) == set(parts["a"][0])
    for name, value in found.tensors.items():
        wanted = np.average([parts[one][0][name].numpy() for one in "ab"], axis=0, weights=[3, 1])
        assert np.allclose(value.numpy(), wanted, rtol=1e-6, atol=1e-7), name
    assert not found.errors
    assert pico.same(made("mean(a, 0*b)", parts).tensors, parts["a"][0])
    assert pico.same(made("mean(a, t)", {**parts, "t": parts["a"]}).tensors, parts["a"][0])
    between = runs(found.tensors, CHOICES[m], words, pico_files)
    for name in "ab":
        assert pico.gap(between, runs(parts[name][0], CHOICES[m], words, pico_files)) > 1e-4


def against_peft(how: str):
    """TIES and magnitude pruning are peft's functions on the matrices written out."""

    def law(m, modules, words, pico_files, pico_dir, state):
        from peft.utils import merge_utils

        parts = {
            "a": (modules(m, "a", state), CHOICES[m]),
            "b": (modules(m, "b", state), CHOICES[m]),
            "c": (modules("lora", "c", state), CHOICES["lora"]),
        }
        whole = {name: dense(*pair) for name, pair in parts.items()}
        for density in (0.2, 0.7, 1.0):
            text = f"{how}(a, b, c, density={density}, rank={pico.WIDTH})"
            methods = {name: pair[1] for name, pair in parts.items()}
            ours = dense(made(text, parts).tensors, chosen(text, methods))
            for name in ours:
                tensors, share = (
                    [whole[part][name] for part in "abc"],
                    torch.full((3,), 1 / 3, dtype=torch.float64),
                )
                theirs = (
                    merge_utils.ties(tensors, torch.ones(3, dtype=torch.float64), density)
                    if how == "ties"
                    else merge_utils.magnitude_prune(tensors, share, density)
                )
                assert float((ours[name] - theirs).norm() / theirs.norm()) < CLOSE, (name, density)
        _back(how, m, parts["a"])
        _twins(how, m, parts["a"])

    return law


def dropped(m, modules, words, pico_files, pico_dir, state):
    """DARE: the same draw for the same seed; what is left is ΔW over the density, and as many as
    asked; its error is that of a Bernoulli draw, E‖err‖² = (1/density − 1) Σ wᵢ²‖ΔWᵢ‖²; at density
    1 it is the mean."""
    parts = {"a": (modules(m, "a", state), CHOICES[m]), "b": (modules(m, "b", state), CHOICES[m])}
    full, methods = f"rank={pico.WIDTH}", {"a": CHOICES[m], "b": CHOICES[m]}

    def run(text):
        return dense(made(text, parts).tensors, chosen(text, methods))

    assert (
        gap(run(f"dare(a, b, density=0.3, {full})"), run(f"dare(a, b, density=0.3, {full})")) == 0
    )
    assert (
        gap(
            run(f"dare(a, b, density=0.3, {full})"), run(f"dare(a, b, density=0.3, seed=1, {full})")
        )
        > 0.1
    )
    one, whole = run(f"dare(a, density=0.25, {full})"), dense(*parts["a"])
    kept = 0
    for name, value in one.items():
        there = value.abs() > 1e-3 * value.abs().max()
        kept += int(there.sum())
        assert float((value - 4 * whole[name])[there].abs().max() / value.abs().max()) < CLOSE
    total = sum(value.numel() for value in one.values())
    assert abs(kept / total - 0.25) < 4 * (0.25 * 0.75 / total) ** 0.5
    errors = made(f"dare(a, b, density=0.25, {full})", parts).errors
    other = dense(*parts["b"])
    expected = (
        3
        * sum(float(whole[n].square().sum() + other[n].square().sum()) / 4 for n in whole)
        / sum(float(((whole[n] + other[n]) / 2).square().sum()) for n in whole)
    ) ** 0.5
    assert abs(errors["all"] / expected - 1) < 0.1
    assert made(f"dare(a, b, density=1, {full})", parts).errors["all"] < 1e-6
    _back("dare", m, parts["a"])


def _back(how: str, m: str, part) -> None:
    """One part, nothing dropped: that part."""
    text = f"{how}(a, density=1)"
    found = made(text, {"a": part})
    assert gap(dense(found.tensors, chosen(text, {"a": part[1]})), dense(*part)) < CLOSE
    assert found.errors["all"] < CLOSE


def _twins(how: str, m: str, part) -> None:
    text = f"{how}(a, 2*t, density=1)"
    found = made(text, {"a": part, "t": part})
    assert (
        gap(dense(found.tensors, chosen(text, {"a": part[1], "t": part[1]})), dense(*part)) < CLOSE
    )


def closest(m, modules, words, pico_files, pico_dir, state):
    """SVD: the error is that of the dropped singular values (Eckart and Young), by numpy; no random
    update of the rank comes closer; the full rank loses nothing."""
    parts = {"a": (modules(m, "a", state), CHOICES[m]), "b": (modules(m, "b", state), CHOICES[m])}
    methods, whole = (
        {"a": CHOICES[m], "b": CHOICES[m]},
        {name: dense(*parts[name]) for name in "ab"},
    )
    for rank in (1, 3, 5):
        errors = made(f"svd(a, b, rank={rank})", parts).errors
        lost = total = 0.0
        for name in whole["a"]:
            values = np.linalg.svd(
                ((whole["a"][name] + whole["b"][name]) / 2).numpy(), compute_uv=False
            )
            lost, total = lost + float((values[rank:] ** 2).sum()), total + float((values**2).sum())
        assert abs(errors["all"] - (lost / total) ** 0.5) < 1e-5
    choice = merging.merged_method(
        composition.parse("svd(a, b, rank=3)"), methods, pico.LAYERS, pico.WIDTH
    )
    assert choice["rank"] == choice["alpha"] == 3
    assert made("svd(a, b, rank=99)", parts).errors["all"] < 1e-6


def refused(how: str):
    """Refused in words that name the part and what there is instead."""

    def law(m, modules, words, pico_files, pico_dir, state):
        methods = {"a": CHOICES[m], "b": CHOICES[m], "l": CHOICES["lora"]}
        for text in (f"{how}(a, b)", f"{how}(l, a)"):
            with pytest.raises(XittError, match=r"a is no low-rank update.*mean\(a, b\)"):
                chosen(text, methods)

    return law


def not_mixed(m, modules, words, pico_files, pico_dir, state):
    """`a + b`, `2*a` of what is no update can't be made one module."""
    for text in ("a + b", "2*a", "a > b"):
        with pytest.raises(XittError, match="is no low-rank update"):
            chosen(text, {"a": CHOICES[m], "b": CHOICES[m]})


def law_of(m: str, how: str):
    if m in pico.LOW:
        return {
            "mean": mean_of_updates,
            "signs": signs_of_updates,
            "dare": dropped,
            "svd": closest,
            "search": signs_of_updates,
        }.get(how) or against_peft(how)
    if how == "signs":
        return not_mixed
    return mean_of_parameters if how == "mean" and m in MEAN else refused(how)


TABLE = {(m, how): law_of(m, how) for m, how in product(METHODS, [*MERGES, "signs"])}


@pytest.mark.parametrize("state", ["random", "trained"])
@pytest.mark.parametrize("entry", TABLE, ids=" ".join)
def test_table(entry, state, modules, words, pico_files, pico_dir):
    """Every method × every merge, and the signs made one module: an entry or a refusal each."""
    TABLE[entry](entry[0], modules, words, pico_files, pico_dir, state)


def test_bottlenecks_of_two_kinds_have_no_mean():
    methods = {
        "a": CHOICES["seq_bn"],
        "b": choose("seq_bn", {"reduction": 8}),
        "c": CHOICES["double_seq_bn"],
    }
    for text in ("mean(a, b)", "mean(a, c)", "mean(a > b, a)"):
        with pytest.raises(XittError, match="one method with the same options"):
            chosen(text, methods)


def test_a_learned_fusion_becomes_one_update(modules, pico_files, words):
    """`f(a, b)` of low-rank updates with weights of their own for every layer and place is one
    LoRA."""
    from adapters_xitt.modules.methods import fusion_of

    adapted = pico.adapted(pico_files)
    parts = {
        "a": (modules("lora", "a", "random"), CHOICES["lora"]),
        "b": (modules("pissa", "b", "random"), CHOICES["pissa"]),
    }
    for name, (tensors, choice) in parts.items():
        adapted.add(name, choice, tensors=tensors)
    adapted.add("f", fusion_of(CHOICES["lora"], 2), over=("a", "b"))
    own = adapted.parameters("f")["weights"]
    own.data.copy_(torch.randn(own.shape, generator=torch.Generator().manual_seed(3)))
    found = made(
        "f(a, b)", {**parts, "f": ({"weights": own.detach().clone()}, adapted.methods["f"])}
    )
    choice = merging.merged_method(
        composition.parse("f(a, b)"), adapted.methods, pico.LAYERS, pico.WIDTH
    )
    assert choice["rank"] == 4 + 2 * 4
    running = pico.states(adapted, pico.setup(adapted, "f(a, b)"), *words)
    assert pico.gap(runs(found.tensors, choice, words, pico_files), running) < CLOSE


# -- the algebra, on random factors

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 4))


def drawn(seed: int, out: int, into: int, rank: int) -> low_rank.Factors:
    draw = torch.Generator().manual_seed(seed)
    return {
        "0.query": (
            torch.randn(out, rank, generator=draw, dtype=torch.float64),
            torch.randn(rank, into, generator=draw, dtype=torch.float64),
        )
    }


def product_of(found: low_rank.Factors) -> torch.Tensor:
    b, a = found["0.query"]
    return b @ a


@settings(max_examples=200, deadline=None)
@given(SHAPES, st.integers(0, 999), st.integers(1, 12))
def test_cut_is_the_closest(shape, seed, rank):
    """QR and a small SVD give what the SVD of the matrix itself gives; never more than asked."""
    found = drawn(seed, *shape)
    b, a = low_rank.cut(*found["0.query"], rank)
    assert a.shape[0] <= max(rank, 0) or a.shape[0] == shape[2]
    u, s, v = np.linalg.svd(product_of(found).numpy(), full_matrices=False)
    assert np.allclose((b @ a).numpy(), (u[:, :rank] * s[:rank]) @ v[:rank], atol=1e-8)


@settings(max_examples=200, deadline=None)
@given(
    SHAPES,
    st.lists(
        st.tuples(st.integers(0, 999), st.floats(-3, 3), st.integers(1, 4)), min_size=1, max_size=4
    ),
)
def test_sums_are_exact(shape, parts):
    """Side by side: the sum of any numbers of any updates, to fp64's rounding."""
    made_of = [(drawn(seed, *shape[:2], rank), weight) for seed, weight, rank in parts]
    found = product_of(
        low_rank.add([low_rank.scale_updates(one, weight) for one, weight in made_of])
    )
    wanted = sum(weight * product_of(one) for one, weight in made_of)
    assert torch.allclose(found, wanted, atol=1e-12)


@settings(max_examples=100, deadline=None)
@given(
    SHAPES,
    st.integers(0, 999),
    st.integers(1001, 1999),
    st.sampled_from(["ties", "magnitude", "dare"]),
    st.floats(0.05, 1),
    st.floats(0.1, 3),
)
def test_merges_do_not_care_for_order_or_common_weights(shape, one, two, how, density, factor):
    """But for DARE's draw: parts may change places, and weights may be multiplied by one number."""
    out, into, rank = shape
    parts, weights = [drawn(one, out, into, rank), drawn(two, out, into, rank)], [0.25, 0.75]
    options = {"density": density, "seed": 3}
    found = product_of(low_rank.merge_updates(how, parts, weights, options, rank=9))
    if how != "dare":
        back = product_of(low_rank.merge_updates(how, parts[::-1], weights[::-1], options, rank=9))
        assert torch.allclose(found, back, atol=1e-9)
    scaled = [low_rank.scale_updates(part, factor) for part in parts]
    assert torch.allclose(
        product_of(low_rank.merge_updates(how, scaled, weights, options, rank=9)),
        factor * found,
        atol=1e-8,
    )


def test_errors_by_hand():
    """The error is a ratio of Frobenius norms, by layer and place, and over all; nothing off
    nothing is nothing."""
    wanted = {
        "0.query": (torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64) * 3),
        "1.value": (torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64) * 4),
    }
    found = {
        **wanted,
        "1.value": (torch.eye(2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)),
    }
    errors = low_rank.errors(found, wanted)
    assert errors["0.query"] == 0
    assert errors["1.value"] == pytest.approx(0.75)
    assert errors["all"] == pytest.approx((18 / (18 + 32)) ** 0.5)
    zero = {
        "0.query": (torch.zeros(2, 1, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64))
    }
    assert low_rank.errors(zero, zero) == {"0.query": 0.0, "all": 0.0}


# -- what a rank cuts off


@pytest.mark.parametrize("how", ["ties", "magnitude", "dare"])
def test_the_full_rank_is_the_method_itself_and_a_rank_tells_what_it_lost(how, modules) -> None:
    """Full rank against peft's functions; the loss of a rank against numpy's singular values of
    that."""
    from peft.utils import merge_utils

    parts = {
        "a": (modules("wide", "a", "random"), CHOICES["wide"]),
        "b": (modules("lora", "b", "random"), CHOICES["lora"]),
    }
    methods, both = (
        {name: pair[1] for name, pair in parts.items()},
        [dense(*pair) for pair in parts.values()],
    )

    def run(rank: str) -> tuple[merging.MergedTensors, dict[str, torch.Tensor]]:
        text = f"{how}(a, b, density=0.3{rank})"
        found = made(text, parts)
        return found, dense(found.tensors, chosen(text, methods))

    (full, whole), (cut, left), (four, less) = run(", rank=full"), run(""), run(", rank=4")
    assert full.lost["all"] < 1e-6
    for name, matrix in whole.items():
        pair = [one.get(name, torch.zeros_like(matrix)) for one in both]
        if how == "ties":
            theirs = merge_utils.ties(pair, torch.ones(2, dtype=torch.float64), 0.3)
        elif how == "magnitude":
            theirs = merge_utils.magnitude_prune(
                pair, torch.full((2,), 0.5, dtype=torch.float64), 0.3
            )
        else:
            assert (
                (matrix.abs() < 1e-6)
                | ((matrix - sum(pair) / 0.6).abs() < 1e-5)
                | ((matrix - pair[0] / 0.6).abs() < 1e-5)
                | ((matrix - pair[1] / 0.6).abs() < 1e-5)
            ).all()
            continue
        assert float((matrix - theirs).norm()) <= 1e-6 * float(theirs.norm()), name
    sizes = {"": methods["a"]["rank"] + methods["b"]["rank"], ", rank=4": 4}
    for (rank, kept), found, matrices in zip(sizes.items(), (cut, four), (left, less), strict=True):
        tails = {
            name: np.linalg.svd(matrix.numpy(), compute_uv=False) for name, matrix in whole.items()
        }
        off = sum((values[kept:] ** 2).sum() for values in tails.values())
        all_of = sum((values**2).sum() for values in tails.values())
        assert found.lost["all"] == pytest.approx((off / all_of) ** 0.5, rel=1e-4), rank
        assert found.lost["all"] > 0.1 and gap(matrices, whole) > 0.1
        assert set(found.lost) == set(found.errors)
    assert four.lost["all"] > cut.lost["all"]


def test_sums_lose_nothing_and_say_nothing(modules) -> None:
    parts = {name: (modules("lora", name, "random"), CHOICES["lora"]) for name in "ab"}
    assert made("0.5*a + b", parts).lost == {} == made("mean(a, b)", parts).lost
    assert made("svd(a, b, rank=2)", parts).lost == pytest.approx(
        made("svd(a, b, rank=2)", parts).errors
    )
    assert composition.show(composition.parse("ties(a, b, rank=full)")) == "ties(a, b, rank=full)"
    for wrong in ("ties(a, b, density=full)", "ties(a, b, rank=fully)"):
        with pytest.raises(XittError, match="was expected"):
            composition.parse(wrong)


def test_a_saved_merge_tells_its_loss(tmp_path) -> None:
    encoder, data = write_encoder(tmp_path / "encoder"), Path(__file__).parent / "golden" / "data"
    own = ("--store", tmp_path / "store")
    for name, task in (("nli", "demo-nli"), ("pairs", "demo-pairs")):
        xitt(
            "train",
            task,
            "--method",
            "lora",
            "--name",
            name,
            "--encoder",
            encoder,
            "--data",
            data,
            *own,
            "--device",
            "cpu",
            "training.max_steps=2",
            "training.batch_size=4",
            "lengths.max_length=24",
        )
    for text, loses in (
        ("ties(nli, pairs, density=0.3)", True),
        ("ties(nli, pairs, density=0.3, rank=full)", False),
    ):
        explained = " ".join(xitt("compose", text, *own).split())
        name = "cut" if loses else "whole"
        xitt("compose", text, "--save", name, *own)
        manifest = read_manifest(
            Store(tmp_path / "store").module_folder(Store(tmp_path / "store").names()[name])
        )
        lost = manifest.merge["lost"]["all"]
        assert (lost > 0.1) == loses and manifest.metrics["lost"] == lost
        assert f"cut to its rank it lost {lost:.2g} of what the merge is" in explained
        assert manifest.method["rank"] == (16 if loses else pico.WIDTH)


# -- a lowering that is broken is seen


def _reversed(adapted: AdaptedEncoder, setup) -> object:
    import dataclasses

    return dataclasses.replace(setup, bottlenecks=setup.bottlenecks[::-1])


def _weightless(adapted: AdaptedEncoder, setup) -> object:
    import dataclasses

    return dataclasses.replace(setup, weights=())


def _first_only(adapted: AdaptedEncoder, setup) -> object:
    import dataclasses

    return dataclasses.replace(setup, updates=setup.updates[:1], weights=setup.weights[:1])


def _fusion_spread(adapted: AdaptedEncoder, setup) -> object:
    """The fused parts as a plain stack."""
    import dataclasses

    flat = tuple(
        one for part in setup.bottlenecks for one in ((part,) if isinstance(part, str) else part)
    )
    return dataclasses.replace(setup, bottlenecks=flat, fusion=None)


@pytest.mark.parametrize(
    ("broken", "entry"),
    [
        (_reversed, ("seq_bn", ">", "seq_bn")),
        (_reversed, ("fuse in a stack", "seq_bn")),
        (_weightless, ("scale", "lora")),
        (_first_only, ("lora", "+", "lora")),
        (_first_only, ("lora", "+", "rslora")),
        (_fusion_spread, ("fuse", "seq_bn")),
        (_fusion_spread, ("fuse in a stack", "double_seq_bn")),
    ],
)
@pytest.mark.parametrize("state", ["random", "trained"])
def test_a_broken_lowering_fails_its_law(
    broken, entry, state, pico_files, pico_dir, pico_tokenizer, words, monkeypatch
):
    """The laws of test_laws hold with the code as it is, and fail when a lowering is bent on
    purpose."""
    import test_laws as laws

    def tensors(method, which, state, choice=None):
        return pico.module(
            pico_files, pico_tokenizer, choice or laws.CHOICES[method], seed=ord(which), state=state
        )

    def go():
        laws.TABLE[entry](
            *(word for word in entry if word in METHODS),
            pico.adapted(pico_files),
            tensors,
            words,
            pico_dir,
            state,
        )

    go()
    activate = AdaptedEncoder.activate
    monkeypatch.setattr(
        AdaptedEncoder, "activate", lambda adapted, setup: activate(adapted, broken(adapted, setup))
    )
    with pytest.raises(AssertionError):
        go()


@pytest.mark.parametrize(
    ("name", "broken", "entry"),
    [
        ("add", lambda parts: parts[0], ("lora", "mean")),
        ("scale_updates", lambda updates, weight: updates, ("lora", "mean")),
        ("_trim", lambda update, density: update, ("lora", "ties")),
        ("_trim", lambda update, density: update, ("lora", "magnitude")),
        ("cut", lambda b, a, rank: (b[:, :rank], a[:rank]), ("lora", "svd")),
    ],
)
def test_a_broken_merge_fails_its_law(
    name, broken, entry, modules, words, pico_files, pico_dir, monkeypatch
):
    assert hasattr(low_rank, name)
    for module in (merging, low_rank):
        monkeypatch.setattr(module, name, broken, raising=False)
    with pytest.raises((AssertionError, KeyError)):
        TABLE[entry](entry[0], modules, words, pico_files, pico_dir, "random")
