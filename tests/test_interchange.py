"""Folders of `adapters` and `peft`: ours read by each library alone gives our numbers, and theirs
read here theirs.

`pytest tests/test_interchange.py -s` prints the largest differences at the end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pico
import pytest
import torch
from click.testing import CliRunner
from forged import reseal, rewrite
from safetensors.torch import load_file, save_file
from torch.nn import functional

from adapters_xitt import hashing, tasks
from adapters_xitt.cli import main
from adapters_xitt.data import exposure as lineage
from adapters_xitt.data import mixture
from adapters_xitt.data.exposure import DataSet, Exposure
from adapters_xitt.data.features import IGNORE
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import heads
from adapters_xitt.modules import composition, methods, serialization
from adapters_xitt.modules.formats import adapterhub, foreign, peft
from adapters_xitt.sharing import exporting, importing
from adapters_xitt.study.store import Store

CLOSE = 1e-5  # of the largest value
ROWS = {"pair": "xnli", "tagging": "udpos", "qa": "squad", "choice": "hellaswag", "mlm": "text"}
CHOICES = 3  # asked at once
PEFT = ("lora", "rslora", "dora", "pissa")
FIGURES: dict[tuple[str, str, str], float] = {}  # direction, method, kind → largest difference


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "store"


def note(direction, method, kind, gap):
    FIGURES[direction, method, kind] = max(gap, FIGURES.get((direction, method, kind), 0.0))
    assert gap <= CLOSE


# -- our side: modules of the store, run by the package


def manifest(files, choice, tensors, key="own", *, rows=(), context=None, exposure=(), name="own"):
    key = hashing.digest(key)
    spaces = {mixture.space(row): {"kind": row.kind, "labels": list(row.labels)} for row in rows}
    return serialization.Manifest(
        key=key,
        digest=hashing.tensors_digest(tensors),
        encoder=files.fingerprint,
        encoder_name=str(files.folder),
        method=choice.record(),
        trained_on=name,
        mixture=mixture.Mixture(name, ()).record(),
        heads=spaces,
        languages=["en"],
        seed=1,
        context=context or key,
        role=name,
        exposure=list(exposure),
        metrics={"score": 0.5, "headline": "accuracy"},
        training={"learning_rate": 1e-4, "start": None, "below": [], "carry_pooler": False},
        versions={"torch": "2"},
    )


def head_for(kind, encoder):
    """A head for the task of a kind, with weights large enough for differences to show."""
    return pico.head(kind, labels=len(tasks.task(ROWS[kind]).labels), above=encoder)


def saved(files, store, choice, tensors, kind=None, **more):
    """A module in the store, with a head of a kind."""
    whole = {f"encoder.{name}": one for name, one in tensors.items()}
    rows = [tasks.task(ROWS[kind])] if kind else []
    for row in rows:
        own = head_for(kind, pico.adapted(files).encoder).state_dict()
        whole |= {f"head.{mixture.space(row)}.{name}": one for name, one in own.items()}
    made = serialization.Module(manifest(files, choice, whole, rows=rows, **more), whole)
    Store(store).save_module(made)
    return made


def asked(tokenizer, kind):
    """Ids and mask of six sentences; of `choice`, two items of three."""
    ids, mask = pico.batch(tokenizer, count=6)
    return (
        (ids.view(2, CHOICES, -1), mask.view(2, CHOICES, -1)) if kind == "choice" else (ids, mask)
    )


def ours(files, where, key, kind, ids, mask):
    """What the package says with a module of the store, in the library's own order of values."""
    made, found = pico.adapted(files), Store(where).load_module(key)
    ids, mask = ids.view(-1, ids.shape[-1]), mask.view(-1, mask.shape[-1])
    over = composition.fusion_parts(composition.parse(found.manifest.context), key)
    names = {part: f"part{at}" for at, part in enumerate(over)}
    for part, name in names.items():
        below = Store(where).load_module(part)
        made.add(name, methods.from_record(below.manifest.method), tensors=below.part("encoder"))
    made.add(
        "m",
        methods.from_record(found.manifest.method),
        tensors=found.part("encoder"),
        over=tuple(names.values()),
    )
    hidden = pico.states(
        made, pico.setup(made, f"m({', '.join(names.values())})" if names else "m"), ids, mask
    )
    assert pico.gap(hidden, pico.states(made, pico.setup(made, "none"), ids, mask)) > 1e-3, (
        "it does nothing"
    )
    made.activate(pico.setup(made, f"m({', '.join(names.values())})" if names else "m"))
    if kind is None:
        return hidden
    ((space, _),) = found.manifest.heads.items()
    head = heads.build(kind, made.encoder, len(tasks.task(ROWS[kind]).labels), seed=0).eval()
    head.load_state_dict(found.part(f"head.{space}"))
    with torch.no_grad():
        said = head(hidden, {"mask": mask, "labels": ids.masked_fill(mask == 0, IGNORE)})
    return (
        said.view(2, CHOICES)
        if kind == "choice"
        else said * mask[..., None]
        if said.ndim == 3
        else said
    )


# -- their side: a library alone, as its users write it


def theirs(model, kind, ids, mask):
    with torch.no_grad():
        said = model(input_ids=ids, attention_mask=mask)
    if kind is None:
        return said.last_hidden_state * mask[..., None]
    found = torch.stack([said.start_logits, said.end_logits], -1) if kind == "qa" else said.logits
    if kind == "mlm":
        return found[mask == 1]
    return found * mask[..., None] if found.ndim == 3 else found


def hub_model(folder):
    from adapters import AutoAdapterModel

    return AutoAdapterModel.from_pretrained(str(folder)).eval()


def hub_head(model, name, kind):
    count = len(tasks.task(ROWS[kind]).labels)
    labels = dict(enumerate(tasks.task(ROWS[kind]).labels))
    if kind == "pair":
        model.add_classification_head(name, num_labels=count, id2label=labels)
    elif kind == "tagging":
        model.add_tagging_head(name, num_labels=count, id2label=labels)
    elif kind == "qa":
        model.add_qa_head(name, num_labels=2)
    elif kind == "choice":
        model.add_multiple_choice_head(name, num_choices=CHOICES)
    else:
        model.add_masked_lm_head(name)


def hub_config(method):
    import adapters

    if method == "lora":
        return adapters.LoRAConfig(
            r=4, alpha=8, attn_matrices=["q", "k", "v"], intermediate_lora=True, output_lora=True
        )
    return pico.config_of_library(pico.CHOICES[method])


def peft_base(folder, kind):
    from transformers import (
        AutoModelForMaskedLM,
        AutoModelForMultipleChoice,
        AutoModelForQuestionAnswering,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        XLMRobertaModel,
    )

    if kind is None:
        return XLMRobertaModel.from_pretrained(folder, add_pooling_layer=False).eval()
    known = {
        "pair": AutoModelForSequenceClassification,
        "tagging": AutoModelForTokenClassification,
        "qa": AutoModelForQuestionAnswering,
        "choice": AutoModelForMultipleChoice,
        "mlm": AutoModelForMaskedLM,
    }
    labels = (
        {"num_labels": len(tasks.task(ROWS[kind]).labels)} if kind in ("pair", "tagging") else {}
    )
    return known[kind].from_pretrained(folder, **labels).eval()


PEFT_SAVES = {
    "pair": ("SEQ_CLS", None),
    "tagging": ("TOKEN_CLS", None),
    "qa": ("QUESTION_ANS", None),
    "choice": (None, ["pooler", "classifier"]),
    "mlm": (None, ["lm_head"]),
    None: ("FEATURE_EXTRACTION", None),
}


def peft_made(folder, method, kind, **more):
    from peft import LoraConfig, get_peft_model

    task, saves = PEFT_SAVES[kind]
    fields = {
        "use_rslora": method == "rslora",
        "use_dora": method == "dora",
        "init_lora_weights": "pissa" if method == "pissa" else True,
        "target_modules": ["query", "value"],
    }
    return get_peft_model(
        peft_base(folder, kind),
        LoraConfig(r=4, lora_alpha=8, task_type=task, modules_to_save=saves, **{**fields, **more}),
    ).eval()


def moved(model, state, kind, ids, mask):
    """Random or trained values in everything the library trains; the decoder of masked words stays
    the encoder's."""
    own = [
        one
        for name, one in model.named_parameters()
        if one.requires_grad
        and ".decoder." not in name
        and not name.endswith("lm_head.modules_to_save.default.bias")
    ]
    assert own
    if state == "random":
        draw = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for one in own:
                one.add_(0.2 * torch.randn(one.shape, generator=draw))
        return model
    steps = torch.optim.AdamW(own, lr=2e-2)
    for _ in range(3):
        said = model(input_ids=ids, attention_mask=mask)
        found = said.start_logits + said.end_logits if kind == "qa" else said[0]
        steps.zero_grad()
        functional.cross_entropy(
            found.flatten(0, -2), torch.arange(found.flatten(0, -2).shape[0]) % found.shape[-1]
        ).backward()
        steps.step()
    return model.eval()


# -- the matrix

HUB_METHODS = (*pico.NECKS, "lora")
KINDS = ("pair", "tagging", "qa", "choice")


@pytest.mark.parametrize("state", ["random", "trained"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", HUB_METHODS)
def test_ours_to_adapters(
    method, kind, state, pico_dir, pico_files, pico_tokenizer, store, tmp_path
):
    choice = (
        pico.CHOICES[method]
        if method != "lora"
        else methods.choose(
            "lora",
            {"rank": 4, "alpha": 8, "places": ["query", "value", "up", "down"], "leave_out": [1]},
        )
    )
    tensors = pico.module(pico_files, pico_tokenizer, choice, seed=4, state=state)
    key = saved(pico_files, store, choice, tensors, kind).manifest.key
    exporting.export(key, tmp_path / "out", form="adapters", store=store)
    ids, mask = asked(pico_tokenizer, kind)
    model = hub_model(pico_dir)
    told: dict = {}
    name = model.load_adapter(
        str(tmp_path / "out"), use_safetensors=True, set_active=True, loading_info=told
    )
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert model.active_head == name
    row = tasks.task(ROWS[kind])
    if row.labels:
        assert model.get_labels() == list(row.labels)
    if kind == "choice":
        model.heads[name].config["num_choices"] = CHOICES
    note(
        "ours → adapters",
        method,
        kind,
        pico.gap(theirs(model, kind, ids, mask), ours(pico_files, store, key, kind, ids, mask)),
    )


@pytest.mark.parametrize("state", ["random", "trained"])
@pytest.mark.parametrize("kind", [*KINDS, "mlm"])
@pytest.mark.parametrize("method", HUB_METHODS)
def test_adapters_to_ours(
    method, kind, state, pico_dir, pico_files, pico_tokenizer, store, tmp_path
):
    model, (ids, mask) = hub_model(pico_dir), asked(pico_tokenizer, kind)
    model.add_adapter("their", config=hub_config(method))
    hub_head(model, "their", kind)
    model.train_adapter("their")
    model.eval()
    moved(model, state, kind, ids, mask)
    model.save_adapter(str(tmp_path / "out"), "their", with_head=True, use_safetensors=True)
    made = importing.import_module(
        tmp_path / "out", name="their", encoder=str(pico_dir), task=ROWS[kind], store=store
    )
    assert made.method["name"] == method and made.source == "adapters"
    note(
        "adapters → ours",
        method,
        kind,
        pico.gap(
            ours(pico_files, store, made.key, kind, ids, mask), theirs(model, kind, ids, mask)
        ),
    )


@pytest.mark.parametrize("state", ["random", "trained"])
@pytest.mark.parametrize("kind", [*KINDS, "mlm", None])
@pytest.mark.parametrize("method", PEFT)
def test_ours_to_peft(method, kind, state, pico_dir, pico_files, pico_tokenizer, store, tmp_path):
    from peft import PeftModel

    places = {
        "pair": ("query", "value"),
        "tagging": ("up", "down"),
        "qa": ("key", "attention", "down"),
        "choice": ("attention",),
    }.get(kind, ("query", "key", "value", "attention", "up", "down"))
    choice = methods.choose(
        method,
        {
            "rank": 4,
            "alpha": 8,
            "places": places,
            "leave_out": [0, 2] if kind in ("tagging", "qa") else [],
        },
    )
    tensors = pico.module(pico_files, pico_tokenizer, choice, seed=4, state=state)
    key = saved(pico_files, store, choice, tensors, kind).manifest.key
    exporting.export(key, tmp_path / "out", form="peft", store=store)
    ids, mask = asked(pico_tokenizer, kind)
    base = peft_base(pico_dir, kind)
    before = theirs(base, kind, ids, mask)
    model = PeftModel.from_pretrained(base, str(tmp_path / "out")).eval()
    said = theirs(model, kind, ids, mask)
    assert pico.gap(before, said) > 1e-3
    written = load_file(tmp_path / "out" / peft.WEIGHTS)
    read = {
        name.replace(".default", "").replace(".modules_to_save", "")
        for name in model.state_dict()
        if ".default." in name
    }
    assert {name.replace("magnitude_vector", "magnitude_vector.weight") for name in written} == read
    note(
        "ours → peft",
        method,
        str(kind),
        pico.gap(said, ours(pico_files, store, key, kind, ids, mask)),
    )


# peft drops a head when it converts a PiSSA.
TAKEN = [
    (method, kind)
    for method in PEFT
    for kind in (*KINDS, "mlm", None)
    if method != "pissa" or not kind
]


@pytest.mark.parametrize("state", ["random", "trained"])
@pytest.mark.parametrize(("method", "kind"), TAKEN)
def test_peft_to_ours(method, kind, state, pico_dir, pico_files, pico_tokenizer, store, tmp_path):
    more = {
        "tagging": {"layers_to_transform": [1, 3], "target_modules": ["output.dense", "key"]},
        "qa": {"target_modules": r".*layer\.[02]\.(attention\.self\.query|output\.dense)"},
    }.get(kind, {})
    model, (ids, mask) = peft_made(pico_dir, method, kind, **more), asked(pico_tokenizer, kind)
    converted = {}
    if method == "pissa":  # peft's own way to share one: as the LoRA of twice the rank
        model.peft_config["default"].init_lora_weights = True
        model.save_pretrained(tmp_path / "start")
        model.peft_config["default"].init_lora_weights = "pissa"
        converted = {"path_initial_model_for_weight_conversion": str(tmp_path / "start")}
    moved(model, state, kind, ids, mask)
    said = theirs(model, kind, ids, mask)
    model.save_pretrained(tmp_path / "out", **converted)
    labels = tasks.task(ROWS[kind]).labels if kind else ()
    made = importing.import_module(
        tmp_path / "out",
        name="their",
        encoder=str(pico_dir),
        store=store,
        labels=labels,
        task=ROWS[kind] if kind else None,
    )
    assert (
        made.method["name"] == ("lora" if method == "pissa" else method) and made.source == "peft"
    )
    assert not kind or made.heads == {
        mixture.space(tasks.task(ROWS[kind])): {"kind": kind, "labels": list(labels)}
    }
    note(
        "peft → ours",
        method,
        str(kind),
        pico.gap(ours(pico_files, store, made.key, kind, ids, mask), said),
    )


@pytest.mark.parametrize(
    ("form", "method"),
    [
        *(("adapters", method) for method in HUB_METHODS if method != "ia3"),
        *(("peft", method) for method in PEFT),
    ],
)
def test_a_module_with_dropout_says_what_its_library_says(
    form, method, pico_dir, pico_files, pico_tokenizer, store, tmp_path
):
    from peft import PeftModel

    choice = methods.choose(
        method,
        {
            **{
                name: value
                for name, value in pico.CHOICES[method].record().items()
                if name != "name"
            },
            "dropout": 0.5,
        },
    )
    tensors = pico.module(pico_files, pico_tokenizer, choice, seed=4, state="random")
    key = saved(pico_files, store, choice, tensors, "pair").manifest.key
    exporting.export(key, tmp_path / "out", form=form, store=store)
    if form == "peft":
        model = PeftModel.from_pretrained(peft_base(pico_dir, "pair"), str(tmp_path / "out")).eval()
    else:
        model = hub_model(pico_dir)
        model.load_adapter(str(tmp_path / "out"), use_safetensors=True, set_active=True)
        model.eval()
    ids, mask = asked(pico_tokenizer, "pair")
    assert (
        pico.gap(theirs(model, "pair", ids, mask), ours(pico_files, store, key, "pair", ids, mask))
        < CLOSE
    )


@pytest.mark.parametrize("method", ["seq_bn", "double_seq_bn", "compacter"])
def test_fusions_both_ways(method, pico_dir, pico_files, pico_tokenizer, store, tmp_path):
    """A fusion with its parts and its head, out of our store and back into another."""
    made, choice, keys = pico.adapted(pico_files), pico.CHOICES[method], []
    for at, name in enumerate("ab"):
        tensors = pico.module(pico_files, pico_tokenizer, choice, seed=at, state="random")
        keys.append(
            saved(pico_files, store, choice, tensors, key=name, name="squad@en").manifest.key
        )
        made.add(name, choice, seed=1)
    fusion = methods.fusion_of(choice, 2)
    made.add("f", fusion, over=("a", "b"), seed=2)
    pico.randomise(made.parameters("f"), "fusion", seed=6)
    own = hashing.digest("f")
    key = saved(
        pico_files,
        store,
        fusion,
        made.parameters("f"),
        "pair",
        key="f",
        context=f"{own}({keys[0]}, {keys[1]})",
    ).manifest.key
    exporting.export(key, tmp_path / "out", form="adapters", store=store)
    parts = ["squad_en", "squad_en_2"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == parts
    model, (ids, mask) = hub_model(pico_dir), asked(pico_tokenizer, "pair")
    for part in parts:
        model.load_adapter(str(tmp_path / "out" / part), use_safetensors=True)
    model.load_adapter_fusion(str(tmp_path / "out"), use_safetensors=True, set_active=True)
    said = ours(pico_files, store, key, "pair", ids, mask)
    alone = [ours(pico_files, store, one, None, ids, mask) for one in keys]
    assert pico.gap(*alone) > 1e-2
    note(
        "ours → adapters",
        f"fusion of {method}",
        "pair",
        pico.gap(theirs(model, "pair", ids, mask), said),
    )

    from adapters.composition import Fuse

    model = hub_model(pico_dir)
    for name in ("a", "b", "c"):
        model.add_adapter(name, config=hub_config(method))
    model.add_adapter_fusion(Fuse("a", "b"))
    # saved along with the other: its name begins like it
    model.add_adapter_fusion(Fuse("a", "b", "c"))
    hub_head(model, "a,b", "pair")
    hub_head(model, "a,b,c", "pair")
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, one in model.named_parameters():
            if any(mark in name for mark in ("adapters.", "fusion", "shared_param", "heads.")):
                one.add_(0.2 * torch.randn(one.shape, generator=draw))
    model.active_adapters, model.active_head = Fuse("a", "b"), "a,b"
    model.eval()
    for name in ("a", "b"):
        model.save_adapter(str(tmp_path / name), name, use_safetensors=True)
    model.save_adapter_fusion(str(tmp_path / "theirs"), "a,b", with_head=True, use_safetensors=True)
    assert any(
        "a,b,c" in name for name in load_file(tmp_path / "theirs" / adapterhub.FUSION_WEIGHTS)
    )
    taken = importing.import_module(
        tmp_path / "theirs", name="fused", encoder=str(pico_dir), task="xnli", store=store
    )
    assert set(Store(store).names()) == {"fused", "fused.a", "fused.b"}
    note(
        "adapters → ours",
        f"fusion of {method}",
        "pair",
        pico.gap(
            ours(pico_files, store, taken.key, "pair", ids, mask), theirs(model, "pair", ids, mask)
        ),
    )


def test_our_own_expectation_is_what_a_mount_makes(pico_files):
    """The shapes of a method's row against the parameters that the libraries make, for every
    method, some layers left out."""
    for name, choice in pico.CHOICES.items():
        if choice.spec.engine in ("adapters", "peft"):
            for left in ((), (0, 2)):
                own = methods.choose(name, {**dict(choice.options), "leave_out": left})
                made = pico.adapted(pico_files)
                made.add("m", own, seed=1)
                assert own.shapes(pico.LAYERS, pico.WIDTH, 64) == {
                    one: tuple(value.shape) for one, value in made.parameters("m").items()
                }


# -- folders that say something else


@pytest.fixture(scope="module")
def hub_folder(pico_dir, tmp_path_factory):
    """A folder of adapters, with a head whose labels stand in another order than the task's."""
    folder, model = tmp_path_factory.mktemp("hub") / "out", hub_model(pico_dir)
    model.add_adapter("nli", config=hub_config("seq_bn"))
    model.add_classification_head(
        "nli", num_labels=3, id2label=dict(enumerate(("neutral", "contradiction", "entailment")))
    )
    # saved along: its name begins like the other's
    model.add_classification_head("nli2", num_labels=3)
    model.save_adapter(str(folder), "nli", with_head=True, use_safetensors=True)
    assert any("nli2" in name for name in load_file(folder / adapterhub.HEAD_WEIGHTS))
    return folder


@pytest.fixture(scope="module")
def peft_folder(pico_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peft") / "out"
    peft_made(pico_dir, "lora", "pair").save_pretrained(folder)
    return folder


def edited(folder, tmp_path, name, /, **changes):
    """A copy with keys of a JSON file changed; "config__x" is one within `config`."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    values = json.loads((copy / name).read_text())
    for key, value in changes.items():
        *above, last = key.split("__")
        inner = values[above[0]] if above else values
        inner[last] = value
    (copy / name).write_text(json.dumps(values))
    return copy


def refused(folder, pico_dir, store, **more):
    with pytest.raises(XittError) as told:
        importing.import_module(
            folder, name="x", store=store, **{"encoder": str(pico_dir), "task": "xnli", **more}
        )
    assert not (store / "modules").exists() and not (store / "names").exists()
    return str(told.value)


HUB_KEYS = [  # file, key, value, what is said
    (
        "adapter_config.json",
        "config__non_linearity",
        "gelu",
        "non_linearity is 'gelu', seq_bn has 'relu'",
    ),
    ("adapter_config.json", "config__original_ln_before", False, "original_ln_before is 'False'"),
    ("adapter_config.json", "config__scaling", 2.0, "scaling is '2.0', seq_bn has 1.0"),
    ("adapter_config.json", "config__scaling", "learned", "scaling is 'learned'"),
    ("adapter_config.json", "config__use_gating", True, "use_gating is 'True'"),
    ("adapter_config.json", "config__ln_after", True, "ln_after is 'True'"),
    (
        "adapter_config.json",
        "config__residual_before_ln",
        "post_add",
        "residual_before_ln is 'post_add'",
    ),
    ("adapter_config.json", "config__inv_adapter", "glow", "inv_adapter is 'glow'"),
    ("adapter_config.json", "config__phm_layer", True, "phm_layer is 'True'"),
    (
        "adapter_config.json",
        "config__reduction_factor",
        {"default": 4, "1": 2},
        "reduction: must be a positive whole",
    ),
    ("adapter_config.json", "config__reduction_factor", 8, "shape (8, 32), needed is (4, 32)"),
    ("adapter_config.json", "config__reduction_factor", None, "reduction_factor is missing"),
    ("adapter_config.json", "config__leave_out", [1], "4 tensors too many"),
    (
        "adapter_config.json",
        "config__leave_out",
        [7],
        "it names layer 7; this encoder has layers 0 to 3",
    ),
    ("adapter_config.json", "config__something_new", 1, "key 'something_new' (1) is not known"),
    (
        "adapter_config.json",
        "config__architecture",
        "prefix_tuning",
        "'prefix_tuning' has no method here",
    ),
    ("adapter_config.json", "config__architecture", "union", "'union' has no method here"),
    ("adapter_config.json", "config", "pfeiffer", "config must be an object"),
    ("adapter_config.json", "model_type", "roberta", "model_type is 'roberta'"),
    ("adapter_config.json", "version", "3.2.1", "before `adapters` 1.0"),
    (
        "adapter_config.json",
        "hidden_size",
        768,
        "made for an encoder 768 wide, this one is 32 wide",
    ),
    ("adapter_config.json", "name", "other", "is none of module 'other'"),
    ("adapter_config.json", "name", "../up", "can be no name of a module"),
    ("head_config.json", "config__layers", 1, "layers is 1, a classification head here has 2"),
    ("head_config.json", "config__activation_function", "relu", "activation_function is 'relu'"),
    ("head_config.json", "config__use_pooler", True, "use_pooler is 'True'"),
    ("head_config.json", "config__bias", False, "bias is 'False'"),
    (
        "head_config.json",
        "config__head_type",
        "dependency_parsing",
        "a head of type 'dependency_parsing'",
    ),
    ("head_config.json", "config__label2id", {"a": 0, "b": 0, "c": 1}, "label2id must map labels"),
    (
        "head_config.json",
        "config__label2id",
        {"a": 0, "b": 1, "c": 2},
        "its labels are a b c, those of xnli are",
    ),
    ("head_config.json", "config__label2id", {"a": 0, "b": 1}, "2 labels for 3 outputs"),
]


@pytest.mark.parametrize(
    ("name", "key", "value", "said"), HUB_KEYS, ids=[f"{row[1]}={row[2]}" for row in HUB_KEYS]
)
def test_a_hub_folder_that_computes_something_else(
    name, key, value, said, hub_folder, pico_dir, store, tmp_path
):
    assert said in refused(edited(hub_folder, tmp_path, name, **{key: value}), pico_dir, store)


PEFT_KEYS = [
    ("rank_pattern", {"query": 2}, "has rank 2 by the patterns"),
    ("alpha_pattern", {"q.*": 2}, "the expression q.*"),
    ("bias", "all", "bias is all"),
    ("lora_bias", True, "lora_bias is True"),
    ("fan_in_fan_out", True, "fan_in_fan_out is True"),
    ("peft_type", "LOHA", "peft_type is 'LOHA'"),
    ("init_lora_weights", "pissa", "path_initial_model_for_weight_conversion"),
    ("init_lora_weights", "olora", "init_lora_weights is 'olora'"),
    (
        "target_modules",
        ["query", "pooler"],
        "target_modules names 'pooler', which is no place here",
    ),
    ("target_modules", ["query", "value", "key"], "8 tensors missing"),
    ("target_modules", ["query"], "8 tensors too many"),
    ("target_modules", None, "target_modules is missing"),
    ("layers_to_transform", [0, 1], "8 tensors too many"),
    ("layers_to_transform", [0, 9], "it names layer 9"),
    ("layers_to_transform", "all", "must be whole numbers"),
    ("layers_pattern", "h", "layers_pattern is h"),
    ("r", 2, "needed is (2, 32)"),
    ("r", -1, "rank: must be a positive"),
    ("lora_alpha", 8.5, "alpha: must be a positive whole"),
    ("exclude_modules", ["value"], "exclude_modules is"),
    ("layer_replication", [[0, 4], [2, 5]], "layer_replication is"),
    ("use_qalora", True, "use_qalora is True"),
    ("trainable_token_indices", [1], "trainable_token_indices is"),
    ("something_new", 3, "something_new is 3"),
    ("use_dora", True, "8 tensors missing"),
    ("modules_to_save", ["classifier"], None),
]


@pytest.mark.parametrize(
    ("key", "value", "said"), PEFT_KEYS, ids=[f"{row[0]}={row[1]}" for row in PEFT_KEYS]
)
def test_a_peft_folder_that_computes_something_else(
    key, value, said, peft_folder, pico_dir, store, tmp_path
):
    labels = tasks.task("xnli").labels
    folder = edited(peft_folder, tmp_path, "adapter_config.json", **{key: value})
    if said is None:  # what is saved is what the tensors say
        assert importing.import_module(
            folder, name="x", encoder=str(pico_dir), task="xnli", labels=labels, store=store
        )
    else:
        assert said in refused(folder, pico_dir, store, labels=labels)


TENSORS = {
    "missing": (lambda found: found.pop(next(iter(found))), "1 tensors missing"),
    "too many": (
        lambda found: found.update(
            {next(iter(found)).replace("layer.0", "layer.9"): torch.ones(1)}
        ),
        "1 tensors too many",
    ),
    "another shape": (
        lambda found: found.update({next(iter(found)): torch.ones(3, 5)}),
        "has shape (3, 5), needed is",
    ),
    "whole numbers": (
        lambda found: found.update({one: value.long() for one, value in found.items()}),
        "torch.int64",
    ),
    "of nothing": (
        lambda found: found.update({"embeddings.word_embeddings.weight": torch.ones(2, 2)}),
        "embeddings.word_embeddings.weight",
    ),
}


@pytest.mark.parametrize("change", TENSORS)
@pytest.mark.parametrize("form", ["hub", "peft"])
def test_tensors_that_do_not_fit(form, change, hub_folder, peft_folder, pico_dir, store, tmp_path):
    folder, name = (
        (hub_folder, adapterhub.WEIGHTS) if form == "hub" else (peft_folder, peft.WEIGHTS)
    )
    copy, (wrong, said) = shutil.copytree(folder, tmp_path / "copy"), TENSORS[change]
    found = dict(
        sorted(load_file(copy / name).items(), key=lambda one: ("classifier" in one[0], one[0]))
    )
    wrong(found)
    save_file(found, copy / name)
    labels = tasks.task("xnli").labels if form == "peft" else ()
    assert said in refused(copy, pico_dir, store, labels=labels)


JUNK = (
    None,
    True,
    -1,
    0,
    10**30,
    0.5,
    "x",
    "\x1b[2J",
    "",
    [],
    [[1]],
    ["x"],
    [None],
    {},
    {"x": []},
    {"x": 1},
)


def test_junk_in_any_key(hub_folder, peft_folder, tmp_path):
    """Every value of every key replaced, one at a time: read as it is or refused, never a crash,
    nothing for a terminal to obey."""
    outcomes = {"refused": 0, "read": 0}
    for folder, name, reader in (
        (hub_folder, foreign.CONFIG, adapterhub),
        (hub_folder, adapterhub.HEAD_CONFIG, adapterhub),
        (peft_folder, foreign.CONFIG, peft),
    ):
        copy = shutil.copytree(folder, tmp_path / f"{reader.__name__}{name}")
        whole = json.loads((folder / name).read_text())
        for above in [whole, whole["config"]] if reader is adapterhub else [whole]:
            for key, kept in list(above.items()):
                for value in JUNK:
                    above[key] = value
                    (copy / name).write_text(json.dumps(whole))
                    try:
                        foreign.fit(
                            reader.read(copy), layers=pico.LAYERS, width=pico.WIDTH, wide=64
                        )
                        outcomes["read"] += 1
                    except XittError as error:
                        assert "\x1b" not in str(error)
                        outcomes["refused"] += 1
                    above[key] = kept
    assert min(outcomes.values()) > 300


HEADS = {
    "missing": (
        lambda found: found.pop(next(name for name in found if name.endswith("bias"))),
        "missing",
    ),
    "too many": (
        lambda found: found.update({next(iter(found)).rpartition(".")[0] + ".more": torch.ones(1)}),
        "too many",
    ),
    "another shape": (
        lambda found: found.update(
            {name: torch.ones(7, 32) for name, value in found.items() if value.shape == (3, 32)}
        ),
        "has shape (7, 32), needed is (3, 32)",
    ),
}


@pytest.mark.parametrize("change", HEADS)
@pytest.mark.parametrize("form", ["hub", "peft"])
def test_heads_that_do_not_fit(form, change, hub_folder, peft_folder, pico_dir, store, tmp_path):
    folder, name = (
        (hub_folder, adapterhub.HEAD_WEIGHTS) if form == "hub" else (peft_folder, peft.WEIGHTS)
    )
    copy, (wrong, said) = shutil.copytree(folder, tmp_path / "copy"), HEADS[change]
    found = load_file(copy / name)
    head = {
        one: value
        for one, value in found.items()
        if one.startswith(("heads.nli.", "base_model.model.classifier"))
    }
    rest = {one: value for one, value in found.items() if one not in head}
    wrong(head)
    save_file(rest | head, copy / name)
    labels = tasks.task("xnli").labels if form == "peft" else ()
    assert said in refused(copy, pico_dir, store, labels=labels)


def test_another_encoder(hub_folder, peft_folder, pico_dir, store, tmp_path):
    """One with fewer layers than the module was made for."""
    from transformers import XLMRobertaConfig, XLMRobertaModel

    config = XLMRobertaConfig.from_pretrained(pico_dir)
    config.num_hidden_layers = 2
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "other")
    shutil.copy(pico_dir / "tokenizer.json", tmp_path / "other")
    other = str(tmp_path / "other")
    assert "8 tensors too many" in refused(hub_folder, pico_dir, store, encoder=other)
    labels = tasks.task("xnli").labels
    assert "8 tensors too many" in refused(
        peft_folder, pico_dir, store, encoder=other, labels=labels
    )


def test_labels_in_another_order(hub_folder, pico_dir, pico_files, pico_tokenizer, store):
    """The head's outputs are put into the order of the task's labels."""
    model, (ids, mask) = hub_model(pico_dir), asked(pico_tokenizer, "pair")
    model.load_adapter(str(hub_folder), use_safetensors=True, set_active=True)
    at = {label: output for output, label in model.get_labels_dict().items()}
    order = [at[label] for label in tasks.task("xnli").labels]
    assert order == [1, 2, 0]
    made = importing.import_module(
        hub_folder, name="x", encoder=str(pico_dir), task="xnli", store=store
    )
    said = ours(pico_files, store, made.key, "pair", ids, mask)
    assert pico.gap(said, theirs(model, "pair", ids, mask)[:, order]) <= CLOSE
    assert pico.gap(said, theirs(model, "pair", ids, mask)) > 1e-2


def test_labels_go_with_a_peft_folder(pico_files, pico_tokenizer, pico_dir, store, tmp_path):
    """peft has no place for them; beside the tensors they are not lost."""
    choice = pico.CHOICES["lora"]
    tensors = pico.module(pico_files, pico_tokenizer, choice, seed=4, state="random")
    made = saved(pico_files, store, choice, tensors, "tagging")
    exporting.export(made.manifest.key, tmp_path / "out", form="peft", store=store)
    back = importing.import_module(
        tmp_path / "out", name="back", encoder=str(pico_dir), task="udpos", store=store
    )
    again = Store(store).load_module(back.key)
    assert back.heads == made.manifest.heads and pico.same(again.tensors, made.tensors)


# -- what a folder can't say


def test_all_that_is_missing_is_asked_for_at_once(hub_folder, peft_folder, pico_dir, store):
    told = refused(peft_folder, pico_dir, store, encoder=None, task=None)
    for part in (
        "3 problems",
        f"--encoder: the encoder it stands on; it calls it {str(pico_dir)!r}",
        "--task: what its head answers (pair); it could be",
        "xnli",
        "--labels: what the 3 outputs",
    ):
        assert part in told, part
    told = refused(hub_folder, pico_dir, store, encoder=None, task=None, trained_in=("xx",))
    assert (
        "labels neutral contradiction entailment); it could be" in told
        and "--trained-in: unknown language" in told
    )
    assert "xnli" in told and "--labels" not in told
    assert "its head is of kind pair, udpos is of kind tagging" in refused(
        hub_folder, pico_dir, store, task="udpos"
    )
    assert "each output has one of its own" in refused(
        peft_folder, pico_dir, store, labels=("a", "b")
    )


def test_what_it_has_seen_stays_unknown(hub_folder, pico_dir, store):
    made = importing.import_module(
        hub_folder,
        name="x",
        encoder=str(pico_dir),
        task="xnli",
        trained_in=("en", "de"),
        store=store,
    )
    row, seen = tasks.task("xnli"), [Exposure(**one) for one in made.exposure]
    assert [(one.language, one.role) for one in seen] == [
        ("en", "trained"),
        ("de", "trained"),
        ("", lineage.UNKNOWN),
    ]
    assert made.trained_on == "xnli@en+de" and made.languages == ["en", "de"]
    assert lineage.tag(row, "de", seen, same_task=()) == lineage.TASK_SEEN + lineage.STAR
    assert lineage.tag(row, "sw", seen, same_task=()) == lineage.ZERO_SHOT + lineage.STAR


def test_a_folder_without_its_head(hub_folder, peft_folder, pico_dir, store):
    for folder in (hub_folder, peft_folder):
        made = importing.import_module(
            folder, name="x", encoder=str(pico_dir), with_head=False, store=store
        )
        assert made.heads == {}
        assert all(
            name.startswith("encoder.") for name in Store(store).load_module(made.key).tensors
        )


def test_a_head_that_is_named_and_not_there(pico_dir, store, tmp_path):
    """As peft leaves a folder when it converts a PiSSA."""
    model = peft_made(pico_dir, "pissa", "pair")
    model.peft_config["default"].init_lora_weights = True
    model.save_pretrained(tmp_path / "start")
    model.save_pretrained(
        tmp_path / "out", path_initial_model_for_weight_conversion=str(tmp_path / "start")
    )
    told = refused(tmp_path / "out", pico_dir, store, labels=tasks.task("xnli").labels)
    assert "modules_to_save names ['classifier', 'score'], no tensor is of them" in told
    assert importing.import_module(
        tmp_path / "out", name="x", encoder=str(pico_dir), with_head=False, store=store
    )


def test_a_decoder_of_its_own_is_refused(pico_dir, store, tmp_path):
    model = hub_model(pico_dir)
    model.add_adapter("words", config=hub_config("seq_bn"))
    model.add_masked_lm_head("words")
    with torch.no_grad():
        model.heads["words"][3].bias.add_(1.0)
    model.save_adapter(str(tmp_path / "out"), "words", use_safetensors=True)
    told = refused(tmp_path / "out", pico_dir, store, task="text")
    assert "decoder.bias of its masked-language-model head is not the encoder's own" in told


def test_pickles_have_one_door(hub_folder, peft_folder, pico_dir, store, tmp_path):
    for at, (folder, weights, pickled) in enumerate(
        (
            (hub_folder, adapterhub.WEIGHTS, "pytorch_adapter.bin"),
            (hub_folder, adapterhub.HEAD_WEIGHTS, "pytorch_model_head.bin"),
            (peft_folder, peft.WEIGHTS, "adapter_model.bin"),
        )
    ):
        copy = shutil.copytree(folder, tmp_path / str(at))
        torch.save(load_file(copy / weights), copy / pickled)
        (copy / weights).unlink()
        assert f"xitt convert --trust-pickle {copy / pickled}" in refused(copy, pico_dir, store)


# -- what has no form there


NO_FORM = [
    ("full", "adapters", "every weight of an encoder"),
    ("full", "peft", "every weight of an encoder"),
    ("head", "adapters", "puts nothing into the encoder"),
    ("seq_bn", "peft", "low-rank updates only"),
    ("dora", "adapters", "computes DoRA otherwise"),
    ("rslora", "adapters", "scales by alpha over the rank only"),
    ("pissa", "adapters", "export it in the form of peft"),
]


@pytest.mark.parametrize(("method", "form", "said"), NO_FORM)
def test_no_form_no_folder(method, form, said, pico_files, pico_tokenizer, store, tmp_path):
    choice = pico.CHOICES[method]
    tensors = pico.module(pico_files, pico_tokenizer, choice, seed=4, state="random")
    key = saved(pico_files, store, choice, tensors, "pair").manifest.key
    with pytest.raises(XittError, match=said):
        exporting.export(key, tmp_path / "out" / "here", form=form, store=store)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_learned_weights_and_masked_words_have_none(pico_files, pico_tokenizer, store, tmp_path):
    parts = [
        saved(
            pico_files,
            store,
            pico.CHOICES["lora"],
            pico.module(pico_files, pico_tokenizer, pico.CHOICES["lora"], seed=at, state="random"),
            key=name,
        ).manifest.key
        for at, name in enumerate("ab")
    ]
    own = hashing.digest("w")
    key = saved(
        pico_files,
        store,
        methods.fusion_of(pico.CHOICES["lora"], 2),
        {"weights": torch.ones(8, 2)},
        key="w",
        context=f"{own}({parts[0]}, {parts[1]})",
    ).manifest.key
    for form in ("adapters", "peft"):
        with pytest.raises(XittError, match=r"xitt compose … --save NAME"):
            exporting.export(key, tmp_path / "out", form=form, store=store)
    words = saved(
        pico_files,
        store,
        pico.CHOICES["seq_bn"],
        pico.module(pico_files, pico_tokenizer, pico.CHOICES["seq_bn"], seed=1, state="random"),
        "mlm",
        key="words",
    ).manifest.key
    with pytest.raises(XittError, match="carries the whole vocabulary"):
        exporting.export(words, tmp_path / "out", form="adapters", store=store)
    exporting.export(words, tmp_path / "out", form="adapters", with_head=False, store=store)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        adapterhub.WEIGHTS,
        foreign.CONFIG,
    ]


# -- our own form


def stacked(files, tokenizer, store):
    """A module trained above another, which has seen a data set."""
    seen = DataSet("xnli", "en", "train", hashing.digest("rows"), frozenset("ab"), frozenset("cd"))
    Store(store).save_data_set(seen)
    exposure = [Exposure("xnli", "en", "trained", seen.digest).record()]
    choice = pico.CHOICES["seq_bn"]
    tensors = pico.module(files, tokenizer, choice, seed=1, state="random")
    below = saved(
        files, store, choice, tensors, key="below", exposure=exposure, name="squad"
    ).manifest.key
    own = hashing.digest("above")
    return (
        saved(
            files,
            store,
            choice,
            tensors,
            "pair",
            key="above",
            exposure=exposure,
            context=f"{below} > {own}",
        ).manifest,
        below,
    )


def test_our_own_folder_comes_with_all_it_needs(pico_files, pico_tokenizer, store, tmp_path):
    """Parts and data sets come along; keys are only claims, so that each is given one of its own,
    the same each time; the store that it came from has it already."""
    made, below = stacked(pico_files, pico_tokenizer, store)
    told = exporting.export(made.key, tmp_path / "out", form="xitt", store=store)
    assert told == ["1 modules that it was trained with lie in parts/"]
    other = Store(tmp_path / "other")
    taken = importing.import_module(tmp_path / "out", name="it", store=other.root)
    assert taken.source == "xitt" and taken.key != made.key and other.resolve("it") == taken.key
    bottom, top = composition.names(composition.parse(taken.context))
    assert top == taken.key and not other.has_module(made.key) and not other.has_module(below)
    for key, own in ((taken.key, made.key), (bottom, below)):
        assert pico.same(other.load_module(key).tensors, Store(store).load_module(own).tensors)
    (seen,) = taken.exposure
    assert (seen["task"], seen["language"], seen["role"]) == ("xnli", "en", "trained")
    assert seen["data"] != made.exposure[0]["data"] and other.load_data_set(
        seen["data"]
    ).ids == frozenset("ab")
    assert importing.import_module(tmp_path / "out", name="again", store=other.root) == taken
    assert importing.import_module(tmp_path / "out", name="same", store=store).key == made.key
    told = exporting.export(made.key, tmp_path / "hub", form="adapters", store=store)
    assert any("it was trained in squad > " in line for line in told)


def test_what_a_folder_claims_of_itself_counts_for_nothing(
    pico_files, pico_tokenizer, store, tmp_path
):
    """No exposure beside a mixture: a star. The same tensors with another seed: another module, and
    the first stays as it is. A birth: nobody's, so that bottlenecks from elsewhere have no mean."""
    made, _ = stacked(pico_files, pico_tokenizer, store)
    key = Store(store).load_module(made.key).manifest.context.split()[0]
    exporting.export(key, tmp_path / "out", form="xitt", store=store)
    path, other = tmp_path / "out" / serialization.MANIFEST, Store(tmp_path / "other")
    honest = json.loads(path.read_text())
    portion = mixture.single("xnli").record()
    for n, change in enumerate(
        (
            {"exposure": [], "mixture": portion, "trained_on": "xnli"},
            {"seed": 7},
            {"training": {**honest["training"], "born": "x"}},
        )
    ):
        path.write_text(json.dumps({**honest, **change}))
        reseal(path.parent)
        importing.import_module(tmp_path / "out", name=f"m{n}", store=other.root)
    manifests = [other.load_module(other.names()[f"m{n}"]).manifest for n in range(3)]
    assert len({one.key for one in manifests}) == 3 and [one.seed for one in manifests] == [
        honest["seed"],
        7,
        honest["seed"],
    ]
    assert [row["role"] for row in manifests[0].exposure] == [lineage.UNKNOWN]
    told = CliRunner().invoke(
        main,
        [
            "compose",
            "mean(m1, m2)",
            "--store",
            str(other.root),
            "--encoder",
            str(pico_files.folder),
        ],
    )
    assert told.exit_code == 2 and "were not born with the same values" in told.output


def test_a_part_that_leads_out_is_refused_and_seen(pico_files, pico_tokenizer, store, tmp_path):
    made, below = stacked(pico_files, pico_tokenizer, store)
    exporting.export(made.key, tmp_path / "out", form="xitt", store=store)
    (tmp_path / "out" / "parts" / below).rename(tmp_path / "outside")
    (tmp_path / "out" / "parts" / below).symlink_to(tmp_path / "outside")
    with pytest.raises(XittError, match="a link that leads out of its folder"):
        importing.import_module(tmp_path / "out", name="it", store=tmp_path / "other")
    told = CliRunner().invoke(main, ["inspect", str(tmp_path / "out")])
    assert told.exit_code == 1 and "leads out of its folder" in " ".join(told.output.split())


def test_a_claimed_key_is_nobodys_job(pico_files, pico_tokenizer, store, tmp_path):
    """Other tensors under a key that the store has, and a data set under a digest that it has with
    other items: both are kept apart from what was made here."""
    made, _ = stacked(pico_files, pico_tokenizer, store)
    exporting.export(made.key, tmp_path / "out", form="xitt", store=store)
    wrong = json.loads((tmp_path / "out" / serialization.MANIFEST).read_text())
    other = {
        name: one + 1 for name, one in load_file(tmp_path / "out" / serialization.TENSORS).items()
    }
    wrong["digest"] = hashing.tensors_digest(other)
    save_file(other, tmp_path / "out" / serialization.TENSORS)
    (tmp_path / "out" / serialization.MANIFEST).write_text(json.dumps(wrong))
    (path,) = (tmp_path / "out" / "data").iterdir()
    rewrite(path, ids=[])
    taken = importing.import_module(tmp_path / "out", name="it", store=store)
    assert taken.key != made.key and Store(store).load_module(made.key).manifest == made
    assert Store(store).load_data_set(made.exposure[0]["data"]).ids == frozenset("ab")
    assert Store(store).load_data_set(taken.exposure[0]["data"]).ids == frozenset()


def test_our_own_folder_without_its_data_or_parts(pico_files, pico_tokenizer, store, tmp_path):
    made, below = stacked(pico_files, pico_tokenizer, store)
    exporting.export(made.key, tmp_path / "out", form="xitt", store=store)
    shutil.rmtree(tmp_path / "out" / "data")
    taken = importing.import_module(tmp_path / "out", name="it", store=tmp_path / "other")
    assert taken.exposure == [
        Exposure("xnli", "en", "trained", "").record(),
        Exposure("", "", lineage.UNKNOWN, "").record(),
    ]
    shutil.rmtree(tmp_path / "out" / "parts")
    with pytest.raises(XittError, match=f"part '{below[:20]}' of the context is missing"):
        importing.import_module(tmp_path / "out", name="it", store=tmp_path / "third")
    with pytest.raises(XittError, match="says itself what --task would"):
        importing.import_module(tmp_path / "out", name="it", task="xnli", store=tmp_path / "third")
    assert not (tmp_path / "third" / "modules").exists()


def test_the_console_script_says_it_and_exits_2(hub_folder, pico_dir, store, tmp_path):
    def said(*words):
        found = CliRunner().invoke(
            main, [*map(str, words), "--store", str(store)], env={"COLUMNS": "200"}
        )
        return found.exit_code, found.output

    code, text = said("import", hub_folder, "--name", "x")
    assert code == 2 and "--encoder" in text and "Traceback" not in text
    code, text = said("import", hub_folder, "--name", "x", "--encoder", pico_dir, "--task", "xnli")
    assert code == 0 and "taken in from adapters" in text
    code, text = said("export", "x", tmp_path / "out", "--form", "peft")
    assert code == 2 and "low-rank updates only" in text
    code, text = said("export", "x", tmp_path / "out", "--form", "adapters")
    assert code == 0 and "load it with use_safetensors=True" in text
    code, text = said("export", "x", tmp_path / "out", "--form", "adapters")
    assert code == 2 and "is there already" in text
    assert said("import", Path("nowhere"), "--name", "x")[0] == 2
    assert said("import", hub_folder, "--name", "../x")[0] == 2


def test_the_matrix_is_whole(request):
    """Prints the figures; every method and head has one, where the whole file ran."""
    for (direction, method, kind), gap in sorted(FIGURES.items()):
        print(f"\n{direction:16} {method:24} {kind:8} {gap:.1e}", end="")
    print()
    if request.config.option.keyword or len(FIGURES) < 50:
        pytest.skip("a part of the file ran")
    wanted = {("ours → adapters", method, kind) for method in HUB_METHODS for kind in KINDS}
    wanted |= {
        ("adapters → ours", method, kind) for method in HUB_METHODS for kind in (*KINDS, "mlm")
    }
    wanted |= {
        ("ours → peft", method, str(kind)) for method in PEFT for kind in (*KINDS, "mlm", None)
    }
    wanted |= {("peft → ours", method, str(kind)) for method, kind in TAKEN}
    wanted |= {
        (way, f"fusion of {method}", "pair")
        for way in ("ours → adapters", "adapters → ours")
        for method in ("seq_bn", "double_seq_bn", "compacter")
    }
    assert set(FIGURES) == wanted
    assert max(FIGURES.values()) <= CLOSE
