"""Folders as the libraries alone leave them, beyond a single module under its own name: taken in
with their numbers, or refused with the reason and what to do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pico
import pytest
import torch
from peft import LoraConfig, get_peft_model
from test_interchange import (
    CLOSE,
    asked,
    hub_config,
    hub_model,
    moved,
    ours,
    peft_base,
    refused,
    theirs,
)
from test_run import xitt

from adapters_xitt import progress, tasks
from adapters_xitt.data import mixture
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import heads
from adapters_xitt.modules import methods
from adapters_xitt.sharing import importing
from adapters_xitt.study.store import Store

CONLL = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC")
NLI = ("contradiction", "entailment", "neutral")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "store"


def take_in(folder, pico_dir, store, **more):
    with progress.watched():
        return importing.import_module(folder, name="x", encoder=str(pico_dir), store=store, **more)


# -- heads with the labels of their training data


@pytest.fixture(scope="module")
def tagger(pico_dir, tmp_path_factory) -> Path:
    """A tagging module of adapters with the labels of CoNLL-2003, four types of names."""
    folder, model = tmp_path_factory.mktemp("tagger") / "out", hub_model(pico_dir)
    model.add_adapter("ner", config=hub_config("seq_bn"))
    model.add_tagging_head("ner", num_labels=len(CONLL), id2label=dict(enumerate(CONLL)))
    model.train_adapter("ner")
    moved(model, "random", "tagging", None, None)
    model.save_adapter(str(folder), "ner", with_head=True, use_safetensors=True)
    return folder


def said_by(files, store, key, ids, mask) -> torch.Tensor:
    """What a stored tagging module with its head says for every word."""
    module, adapted = Store(store).load_module(key), pico.adapted(files)
    adapted.add("m", methods.from_record(module.manifest.method), tensors=module.part("encoder"))
    ((space, head),) = module.manifest.heads.items()
    made = heads.build("tagging", adapted.encoder, len(head["labels"]), seed=0).eval()
    made.load_state_dict(module.part(f"head.{space}"))
    with torch.no_grad():
        return (
            made(pico.states(adapted, pico.setup(adapted, "m"), ids, mask), {"mask": mask})
            * mask[..., None]
        )


def test_a_tagging_head_keeps_the_labels_of_its_training_data(
    tagger, pico_dir, pico_files, pico_tokenizer, store, capsys
) -> None:
    """No task has them: kept as they are, with the library's logits; a task whose labels are among
    them gets those outputs, in its own order; another is refused with what to do."""
    ids, mask = asked(pico_tokenizer, "tagging")
    model = hub_model(pico_dir)
    model.load_adapter(str(tagger), use_safetensors=True, set_active=True)
    wanted = theirs(model, "tagging", ids, mask)
    made = take_in(tagger, pico_dir, store)
    assert list(made.heads.values()) == [{"kind": "tagging", "labels": list(CONLL)}]
    assert list(made.heads) == [mixture.space_of("tagging", CONLL)]
    assert pico.gap(said_by(pico_files, store, made.key, ids, mask), wanted) <= CLOSE
    assert "kept with labels of its own" in capsys.readouterr().err
    made = take_in(tagger, pico_dir, store, task="panx")
    labels = tasks.task("panx").labels
    assert list(made.heads.values()) == [{"kind": "tagging", "labels": list(labels)}]
    assert (
        pico.gap(
            said_by(pico_files, store, made.key, ids, mask),
            wanted[..., [CONLL.index(label) for label in labels]],
        )
        <= CLOSE
    )
    assert "B-MISC I-MISC are left out" in capsys.readouterr().err
    with pytest.raises(XittError, match="without --task it is kept with labels of its own"):
        take_in(tagger, pico_dir, store, task="udpos")


def test_a_head_of_its_own_labels_takes_part(tagger, pico_dir, pico_world, store) -> None:
    """It stands below a module of ours; a task with other labels is told what the head has. The
    encoder that was named when it was taken in is not asked for again."""
    xitt("import", tagger, "--name", "ner", "--encoder", pico_dir, "--store", store)
    small = ("lengths.max_length=40", "training.max_steps=1", "training.selection_examples=4")
    xitt(
        "train",
        "demo-pos",
        "--after",
        "ner",
        "--mode",
        "stack",
        *small,
        "--data",
        pico_world,
        "--store",
        store,
        "--name",
        "pos",
        "--device",
        "cpu",
    )
    xitt(
        "evaluate",
        "pos",
        "demo-pos",
        "--data",
        pico_world,
        "--store",
        store,
        "--language",
        "de",
        "--device",
        "cpu",
        "lengths.max_length=40",
    )
    printed = xitt("evaluate", "ner", "demo-pos", "--data", pico_world, "--store", store, code=2)
    assert "demo-pos needs a head" in printed and "--encoder" not in printed


# -- peft's configurations


def saved_by_adapters(pico_dir, **fields):
    """A sequence classifier of peft with random updates and head."""
    model = get_peft_model(
        peft_base(pico_dir, "pair"),
        LoraConfig(
            task_type="SEQ_CLS",
            **{"r": 4, "lora_alpha": 8, "target_modules": ["query", "value"], **fields},
        ),
    ).eval()
    return moved(model, "random", "pair", None, None)


PATTERNS = {
    "rank_pattern": {"encoder.layer.1.attention.self.query": 2, "value": 8},
    "alpha_pattern": {
        "layer.2.attention.self.query": 3,
        "roberta.encoder.layer.0.attention.self.value": 20,
    },
}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"target_modules": "all-linear"}, id="all-linear"),
        pytest.param(PATTERNS, id="patterns"),
        pytest.param({**PATTERNS, "use_rslora": True}, id="patterns, rslora"),
        pytest.param({**PATTERNS, "use_dora": True}, id="patterns, dora"),
    ],
)
def test_a_configuration_of_peft_gives_its_logits(
    fields, pico_dir, pico_files, pico_tokenizer, store, tmp_path
):
    model, (ids, mask) = saved_by_adapters(pico_dir, **fields), asked(pico_tokenizer, "pair")
    model.save_pretrained(tmp_path / "out")
    made = take_in(tmp_path / "out", pico_dir, store, task="xnli", labels=NLI)
    assert (
        pico.gap(
            ours(pico_files, store, made.key, "pair", ids, mask), theirs(model, "pair", ids, mask)
        )
        <= CLOSE
    )
    assert made.method["rank"] == (8 if "rank_pattern" in fields else 4)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"rank_pattern": {"(query|value)": 4}}, "one entry each"),
        ({"rank_pattern": {"query": 5}}, "has rank 5 by the patterns, its tensors have 4 and 4"),
        ({"alpha_pattern": {"query": 0}}, "a number above 0"),
        ({"alpha_pattern": ["query"]}, "must map names onto numbers"),
        ({"target_modules": ["query", "value", "gate_proj"]}, "no place here"),
    ],
)
def test_what_has_no_sound_form_is_told(changes, told, pico_dir, store, tmp_path) -> None:
    saved_by_adapters(pico_dir).save_pretrained(tmp_path / "out")
    path = tmp_path / "out" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    assert told in refused(tmp_path / "out", pico_dir, store, labels=NLI)


# -- several modules in a folder


def test_folders_of_several_modules(pico_dir, store, tmp_path) -> None:
    """`save_all_adapters` and peft's named adapters: the one below is taken, several are told by
    their paths, and each is what it is by itself."""
    model = hub_model(pico_dir)
    model.add_adapter("one", config=hub_config("seq_bn"))
    model.save_all_adapters(str(tmp_path / "hub"), use_safetensors=True)
    alone = take_in(tmp_path / "hub", pico_dir, store)
    assert alone.digest == take_in(tmp_path / "hub" / "one", pico_dir, store).digest
    model.add_adapter("two", config=hub_config("lora"))
    model.save_all_adapters(str(tmp_path / "hub"), use_safetensors=True)
    told = refused(tmp_path / "hub", pico_dir, tmp_path / "other")
    assert "2 modules" in told and f"{tmp_path / 'hub' / 'one'}, {tmp_path / 'hub' / 'two'}" in told
    config = LoraConfig(r=4, target_modules=["query"])
    named = get_peft_model(peft_base(pico_dir, None), config, adapter_name="mine")
    named.save_pretrained(tmp_path / "peft")
    assert take_in(tmp_path / "peft", pico_dir, store).method["name"] == "lora"
    named.add_adapter("other", config)
    named.save_pretrained(tmp_path / "peft")
    assert f"{tmp_path / 'peft' / 'mine'}, {tmp_path / 'peft' / 'other'}" in refused(
        tmp_path / "peft", pico_dir, tmp_path / "other"
    )
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    assert "no module" in refused(tmp_path / "empty", pico_dir, tmp_path / "other")


def test_a_folder_of_pickles_is_converted_whole(
    pico_dir, pico_files, pico_tokenizer, store, tmp_path
) -> None:
    model, (ids, mask) = hub_model(pico_dir), asked(pico_tokenizer, "pair")
    model.add_adapter("nli", config=hub_config("seq_bn"))
    model.add_classification_head("nli", num_labels=3, id2label=dict(enumerate(NLI)))
    model.train_adapter("nli")
    moved(model, "random", "pair", None, None)
    model.eval().set_active_adapters("nli")
    folder = tmp_path / "out"
    model.save_adapter(str(folder), "nli", with_head=True, use_safetensors=False)
    broken = shutil.copytree(folder, tmp_path / "broken")
    assert "--trust-pickle" in xitt("convert", folder, code=2)
    assert "--out" in xitt(
        "convert", folder, "--trust-pickle", "--out", tmp_path / "a.safetensors", code=2
    )
    printed = xitt("convert", folder, "--trust-pickle")
    assert printed.count("written: ") == 2
    made = take_in(folder, pico_dir, store, task="xnli")
    assert (
        pico.gap(
            ours(pico_files, store, made.key, "pair", ids, mask), theirs(model, "pair", ids, mask)
        )
        <= CLOSE
    )
    assert "no pickle to convert" in xitt("convert", folder, "--trust-pickle", code=2)
    (broken / "pytorch_model_head.bin").write_bytes(b"no pickle")
    xitt("convert", broken, "--trust-pickle", code=2)
    assert not list(broken.glob("*.safetensors")), "all of it, or nothing"
