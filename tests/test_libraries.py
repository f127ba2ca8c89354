"""Models of `adapters` and `peft` from stored modules: ready to run, and equal to ours."""

from __future__ import annotations

import pico
import pytest
import torch
from test_interchange import CHOICES, CLOSE, ROWS, asked, head_for, manifest, theirs

from adapters_xitt import hashing, tasks
from adapters_xitt.data import mixture
from adapters_xitt.data.features import IGNORE
from adapters_xitt.errors import XittError
from adapters_xitt.model import libraries
from adapters_xitt.modules import composition, methods
from adapters_xitt.modules.formats import peft
from adapters_xitt.modules.formats.adapterhub import layout
from adapters_xitt.modules.manifest import Module
from adapters_xitt.sharing import exporting

HEADS = ("pair", "tagging", "qa", "choice")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def key(name):
    return hashing.digest(name)


def keyed(text):
    """An expression over names as one over keys."""
    return composition.rename(composition.parse(text), lambda name: composition.Part(key(name)))


def stored(files, tokenizer, name, choice, kind=None, tensors=None):
    """A module as a store gives it, with random values and a head of a kind."""
    tensors = tensors or pico.module(files, tokenizer, choice, seed=ord(name[0]), state="random")
    whole = {f"encoder.{part}": value for part, value in tensors.items()}
    rows = [tasks.task(ROWS[kind])] if kind else []
    for row in rows:
        own = head_for(kind, pico.adapted(files).encoder).state_dict()
        whole |= {f"head.{mixture.space(row)}.{part}": value for part, value in own.items()}
    return Module(manifest(files, choice, whole, key=name, rows=rows), whole)


def ours(files, expression, modules, ids, mask, kind=None):
    """What the package gives for an expression, in the library's own order of values."""
    adapted = pico.adapted(files)
    names = {name: f"m{name[:8]}" for name in composition.names(expression)}
    for name in composition.names(expression):
        adapted.add(
            names[name],
            methods.from_record(modules[name].manifest.method),
            tensors=modules[name].part("encoder"),
            over=[names[part] for part in composition.fusion_parts(expression, name)],
        )
    named = composition.rename(expression, lambda name: composition.Part(names[name]))
    ids, mask = ids.view(-1, ids.shape[-1]), mask.view(-1, mask.shape[-1])
    form = pico.setup(adapted, composition.show(named))
    hidden = pico.states(adapted, form, ids, mask)
    if kind is None:
        return hidden
    top = next(
        modules[name] for name in composition.heads(expression) if modules[name].manifest.heads
    )
    head = head_for(kind, adapted.encoder).eval()
    ((space, _),) = top.manifest.heads.items()
    head.load_state_dict(top.part(f"head.{space}"))
    with torch.no_grad():
        found = head(hidden, {"mask": mask, "labels": ids.masked_fill(mask == 0, IGNORE)})
    if kind == "choice":
        return found.view(-1, CHOICES)
    return found * mask[..., None] if found.ndim == 3 else found


def check(give, text, chosen, kind, files, tokenizer, tensors=None, **more):
    """Builds the library's model and compares it with the package, value by value."""
    top = composition.heads(composition.parse(text))[0]
    modules = {
        key(name): stored(
            files, tokenizer, name, choice, kind if name == top else None, (tensors or {}).get(name)
        )
        for name, choice in chosen.items()
    }
    model, words = give(keyed(text), modules, files, **more)
    assert not model.training
    assert words("the cat")["input_ids"][0] == 0
    ids, mask = asked(tokenizer, kind)
    expected = ours(files, keyed(text), modules, ids, mask, kind)
    plain = ours(files, composition.Nothing(), modules, ids, mask)
    assert kind or pico.gap(expected, plain) > 1e-3
    assert pico.gap(theirs(model, kind, ids, mask), expected) < CLOSE
    return model


@pytest.mark.parametrize("kind", [*HEADS, None])
@pytest.mark.parametrize("method", [*pico.NECKS, "lora"])
def test_a_module_as_a_model_of_adapters(method, kind, pico_files, pico_tokenizer):
    more = {"choices": CHOICES} if kind == "choice" else {}
    model = check(
        libraries.to_adapters,
        "a",
        {"a": pico.CHOICES[method]},
        kind,
        pico_files,
        pico_tokenizer,
        **more,
    )
    if kind in ("pair", "tagging"):
        assert model.get_labels() == list(tasks.task(ROWS[kind]).labels)


@pytest.mark.parametrize("kind", [*HEADS, "mlm", None])
@pytest.mark.parametrize("method", ["lora", "rslora", "dora", "pissa"])
def test_a_module_as_a_model_of_peft(method, kind, pico_files, pico_tokenizer):
    model = check(
        libraries.to_peft, "a", {"a": pico.CHOICES[method]}, kind, pico_files, pico_tokenizer
    )
    if kind in ("pair", "tagging"):
        names = model.config.id2label
        assert [names[index] for index in sorted(names)] == list(tasks.task(ROWS[kind]).labels)


@pytest.mark.parametrize("kind", ["pair", None])
@pytest.mark.parametrize("text", ["a > b", "i > b > c"])
def test_stacks(text, kind, pico_files, pico_tokenizer):
    chosen = {
        name: pico.CHOICES["seq_bn_inv" if name == "i" else "seq_bn"]
        for name in composition.names(composition.parse(text))
    }
    check(libraries.to_adapters, text, chosen, kind, pico_files, pico_tokenizer)


@pytest.mark.parametrize("kind", ["pair", "qa", None])
@pytest.mark.parametrize("text", ["f(a, b)", "c > f(a, b)", "f(a, b) > c"])
def test_fusions(text, kind, pico_files, pico_tokenizer):
    choice = pico.CHOICES["seq_bn"]
    adapted = pico.adapted(pico_files)
    for name in "ab":
        adapted.add(name, choice, seed=1)
    adapted.add("f", methods.fusion_of(choice, 2), over=("a", "b"), seed=2)
    pico.randomise(adapted.parameters("f"), "fusion", seed=6)
    names = composition.names(composition.parse(text))
    chosen = {name: methods.fusion_of(choice, 2) if name == "f" else choice for name in names}
    tensors = {"f": {name: value.detach() for name, value in adapted.parameters("f").items()}}
    check(libraries.to_adapters, text, chosen, kind, pico_files, pico_tokenizer, tensors)


@pytest.mark.parametrize("kind", ["pair", "choice", None])
@pytest.mark.parametrize("text", ["a + b", "0.4*a + b", "b - 0.5*a + p"])
def test_sums(text, kind, pico_files, pico_tokenizer):
    chosen = {
        name: pico.CHOICES["pissa" if name == "p" else "lora"]
        for name in composition.names(composition.parse(text))
    }
    check(libraries.to_peft, text, chosen, kind, pico_files, pico_tokenizer)


NO_FORM = [
    ("to_adapters", "a", {"a": "full"}, None, "every weight of an encoder"),
    ("to_peft", "a", {"a": "head"}, None, "puts nothing into the encoder"),
    ("to_adapters", "a", {"a": "dora"}, None, "computes DoRA otherwise"),
    ("to_adapters", "a", {"a": "pissa"}, None, "form of peft"),
    ("to_adapters", "a + b", {"a": "lora", "b": "lora"}, None, "peft sums them"),
    ("to_adapters", "a > b", {"a": "lora", "b": "seq_bn"}, None, "beside bottlenecks"),
    ("to_peft", "a > b", {"a": "lora", "b": "seq_bn"}, None, "low-rank updates and"),
    ("to_peft", "a", {"a": "seq_bn"}, None, "low-rank updates and"),
    ("to_adapters", "a", {"a": "seq_bn"}, "mlm", "carries the whole vocabulary"),
    ("to_adapters", "a + b", {"a": "seq_bn", "b": "seq_bn"}, None, "bottlenecks stack"),
]


@pytest.mark.parametrize(("give", "text", "chosen", "kind", "why"), NO_FORM)
def test_no_form_is_refused_with_the_reason(
    give, text, chosen, kind, why, pico_files, pico_tokenizer
):
    modules = {
        key(name): stored(pico_files, pico_tokenizer, name, pico.CHOICES[method], kind)
        for name, method in chosen.items()
    }
    with pytest.raises(XittError, match=why):
        getattr(libraries, give)(keyed(text), modules, pico_files)


@pytest.mark.parametrize(("give", "method"), [("to_adapters", "seq_bn"), ("to_peft", "lora")])
def test_a_head_that_no_library_has_is_refused_and_left_out_of_a_bundle(
    give, method, tmp_path, pico_files, pico_tokenizer, monkeypatch
):
    """As of a kind that is in none of their tables."""
    module = stored(pico_files, pico_tokenizer, "a", pico.CHOICES[method], "pair")
    (form,) = exporting.forms(tmp_path / "with", {key("a"): module})
    monkeypatch.delitem(layout.HEADS, "classification")
    monkeypatch.delitem(peft._OVER, "pair")
    with pytest.raises(XittError, match=r"a head of kind pair: .* no form of it; export it in our"):
        getattr(libraries, give)(keyed("a"), {key("a"): module}, pico_files)
    (bare,) = exporting.forms(tmp_path / "without", {key("a"): module})
    assert (form.head, bare.head, bare.engine) == ("pair", "", form.engine)


def test_a_module_of_another_encoder_is_refused(pico_files, pico_tokenizer):
    import dataclasses

    module = stored(pico_files, pico_tokenizer, "a", pico.CHOICES["lora"])
    other = dataclasses.replace(pico_files, fingerprint="0" * 64)
    with pytest.raises(XittError, match="was made for the encoder"):
        libraries.to_peft(keyed("a"), {key("a"): module}, other)


@pytest.mark.parametrize("give", [libraries.to_adapters, libraries.to_peft])
def test_the_head_for_a_task(give, pico_files, pico_tokenizer):
    modules = {key("a"): stored(pico_files, pico_tokenizer, "a", pico.CHOICES["lora"], "pair")}
    give(keyed("a"), modules, pico_files, task="xnli")
    with pytest.raises(XittError, match="it has no head for udpos"):
        give(keyed("a"), modules, pico_files, task="udpos")
