"""A key for a request: what means the same has one, what gives other numbers has another."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_xitt import tasks
from adapters_xitt.api import common
from adapters_xitt.errors import XittError
from adapters_xitt.model import pretrained
from adapters_xitt.study import keys, planner, recipe
from adapters_xitt.study.inputs import Inputs
from adapters_xitt.study.jobs import TrainedModule
from adapters_xitt.study.plan import Plan
from adapters_xitt.study.score_jobs import plan_cell
from adapters_xitt.study.store import Store
from adapters_xitt.training.settings import Settings

NECK = {"name": "seq_bn", "reduction": 4}
MIXED = {"name": "mixed", "tasks": ["demo-pos", "demo-nli"]}
BASE: dict[str, Any] = {
    "name": "keys",
    "methods": [NECK, "lora"],
    "intermediates": ["demo-nli", MIXED],
    "targets": ["demo-qa", "demo-retrieval"],
    "modes": ["none", "sequential", "stack", "sum", "fuse"],
    "languages": ["de"],
    "lengths": {"max_length": 40, "stride": 8, "question": 8},
}


def merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` with the leaves of `change` over its own."""
    both = {
        name: (
            merged(base[name], value)
            if isinstance(value, dict) and isinstance(base.get(name), dict)
            else value
        )
        for name, value in change.items()
    }
    return {**base, **both}


@pytest.fixture(scope="module")
def planned(tmp_path_factory, pico_dir, pico_world):
    """Plans a change of the base recipe; a change of nothing once."""
    folder, kept = tmp_path_factory.mktemp("keys"), {}

    def make(change: dict[str, Any], *, encoder: Path = pico_dir) -> Plan:
        asked = json.dumps([change, str(encoder)], sort_keys=True)
        if asked not in kept:
            values = merged(
                {**BASE, "encoder": str(encoder), "data": {"root": str(pico_world)}}, change
            )
            found = recipe.parse(values, source="test", lines={})
            kept[asked] = planner.plan_recipe(found, Inputs(found, pico_world, Store(folder)))
        return kept[asked]

    return make


def trained(found: Plan) -> set[str]:
    return {key for key, job in found.train.items() if isinstance(job, TrainedModule)}


SAME: dict[str, tuple[dict, dict]] = {
    "epochs": ({}, {"training": {"epochs": 3}}),
    "dropout": ({}, {"training": {"dropout": 0.1}}),
    "warm-up, weight decay, clip, tokens": (
        {},
        {"training": {"warmup": 0.1, "weight_decay": 0.01, "clip": 1, "tokens": 4096}},
    ),
    "optimizer": ({}, {"training": {"optimizer": "32"}}),
    "looks as often as by default": (
        {"training": {"max_steps": 20, "epochs": 50}},
        {"training": {"max_steps": 20, "epochs": 50, "evaluate_every": 2}},
    ),
    "looks past the end": (
        {"training": {"evaluate_every": 500}},
        {"training": {"evaluate_every": 1000}},
    ),
    "patience past the last look": ({}, {"training": {"patience": 100}}),
    "steps past the end": ({}, {"training": {"max_steps": 100_000}}),
    "batches larger than the data": (
        {"training": {"batch_size": 1000}},
        {"training": {"batch_size": 2000}},
    ),
    "more examples than there are": ({}, {"examples": 100_000}),
    "more examples of a task": ({}, {"tasks": {"demo-nli": {"examples": 100_000}}}),
    "more selection examples": ({}, {"training": {"selection_examples": 100_000}}),
    "stride and question of pairs": (
        {},
        {"tasks": {"demo-nli": {"lengths": {"stride": 3, "question": 5}}}},
    ),
    "stride past the window": ({"lengths": {"stride": 5000}}, {"lengths": {"stride": 6000}}),
    "lengths past the positions": (
        {"lengths": {"max_length": 5000}},
        {"lengths": {"max_length": 6000}},
    ),
    "question past half the window": (
        {"lengths": {"question": 5000}},
        {"lengths": {"question": 6000}},
    ),
    "a method's defaults": (
        {"methods": ["seq_bn", "lora"]},
        {
            "methods": [
                {
                    "name": "seq_bn",
                    "reduction": 16,
                    "dropout": 0,
                    "leave_out": [],
                    "learning_rate": 1.0e-4,
                },
                {
                    "name": "lora",
                    "rank": 8,
                    "alpha": 8,
                    "places": ["value", "query"],
                    "dropout": 0.0,
                },
            ]
        },
    ),
    "layers left out in order": (
        {"methods": [{**NECK, "leave_out": [0, 1]}]},
        {"methods": [{**NECK, "leave_out": [1, 0, 1]}]},
    ),
    "layers left out that are not there": (
        {"methods": [NECK]},
        {"methods": [{**NECK, "leave_out": [9]}]},
    ),
    "a learning rate": (
        {"methods": [NECK]},
        {"methods": [NECK], "training": {"learning_rate": 1.0e-4}},
    ),
    "a fusion's learning rate": ({"methods": [NECK]}, {"methods": [NECK], "fusion_rate": 5.0e-5}),
    "English": (
        {},
        {"intermediates": ["demo-nli@en", MIXED], "tasks": {"demo-qa": {"trained_in": ["en"]}}},
    ),
    "a mixture's name": ({}, {"intermediates": ["demo-nli", {**MIXED, "name": "other"}]}),
    "a mixture's sampling": (
        {},
        {"intermediates": ["demo-nli", {**MIXED, "sampling": "temperature"}]},
    ),
    "a temperature that nothing reads": (
        {},
        {"intermediates": ["demo-nli", {**MIXED, "temperature": 5.0}]},
    ),
    "a cap above the data": ({}, {"intermediates": ["demo-nli", {**MIXED, "cap": 100_000}]}),
    "languages of one language": (
        {},
        {"intermediates": ["demo-nli", {**MIXED, "languages": "even"}]},
    ),
    "a whole split": (
        {},
        {
            "tasks": {
                "demo-nli": {"train": "train[:100%]", "selection": "dev[0:]"},
                "demo-qa": {"test": "test[0%:]"},
            }
        },
    ),
    "a pooler where there is none": ({}, {"carry_pooler": True}),
    "a shared start of nothing": (
        {"methods": ["full", "head"]},
        {"methods": ["full", "head"], "shared_start": True},
    ),
    "how it is held in memory": ({}, {"precision": "32", "checkpointing": 1, "embeddings": "host"}),
    "memory enough": ({}, {"memory": "8GiB"}),
    "a convention": ({}, {"tasks": {"demo-retrieval": {"layer": 2}}}),
    "a merge's default": (
        {"compositions": ["ties(demo-nli, target)"], "methods": ["lora"]},
        {"compositions": ["ties(demo-nli, target, density=0.5)"], "methods": ["lora"]},
    ),
    "a mean's weights": (
        {"compositions": ["mean(demo-nli, 2*target)"], "methods": ["lora"]},
        {"compositions": ["mean(3*demo-nli, 6*target)"], "methods": ["lora"]},
    ),
    "a search's schedule": (
        {"compositions": ["search(demo-nli, target)"], "methods": ["lora"]},
        {
            "compositions": ["search(demo-nli, target)"],
            "methods": ["lora"],
            "training": {"epochs": 3},
        },
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_means_the_same_has_one_key(name, planned) -> None:
    one, other = (planned(change) for change in SAME[name])
    assert set(one.train) == set(other.train)
    assert set(one.score) == set(other.score)


ALL = frozenset({"demo-nli", "mixed", "demo-qa"})
OTHER: dict[str, tuple[dict, frozenset[str]]] = {
    "seed": ({"seeds": [2]}, ALL),
    "epochs": ({"training": {"epochs": 1}}, ALL),
    "steps": ({"training": {"max_steps": 1}}, ALL),
    "warm-up": ({"training": {"warmup": 0.5}}, ALL),
    "weight decay": ({"training": {"weight_decay": 0.0}}, ALL),
    "clip": ({"training": {"clip": 2.0}}, ALL),
    "tokens of a micro-batch": ({"training": {"tokens": 160}}, ALL),
    "dropout": ({"training": {"dropout": 0.2}}, ALL),
    "looks": ({"training": {"evaluate_every": 3}}, ALL),
    "patience": ({"training": {"batch_size": 4, "patience": 1}}, ALL),
    "batch size": ({"training": {"batch_size": 4}}, ALL),
    "learning rate": ({"training": {"learning_rate": 3.0e-4}}, ALL),
    "selection examples": ({"training": {"selection_examples": 3}}, ALL),
    "precision": ({"precision": "bf16"}, ALL),
    "length": ({"lengths": {"max_length": 30}}, ALL),
    "a method's dropout": (
        {"methods": [{**NECK, "dropout": 0.1}, {"name": "lora", "dropout": 0.1}]},
        ALL,
    ),
    "layers left out": (
        {"methods": [{**NECK, "leave_out": [1]}, {"name": "lora", "leave_out": [1]}]},
        ALL,
    ),
    "a shared start": ({"shared_start": True}, ALL),
    "examples": ({"examples": 9}, frozenset({"demo-nli", "mixed"})),
    "a slice": (
        {"tasks": {"demo-nli": {"train": "train[:50%]"}}},
        frozenset({"demo-nli", "mixed"}),
    ),
    "stride": ({"lengths": {"stride": 7}}, frozenset({"demo-qa"})),
    "question": ({"lengths": {"question": 7}}, frozenset({"demo-qa"})),
    "sampling": (
        {"intermediates": ["demo-nli", {**MIXED, "shares": {"demo-nli": 0.25}}]},
        frozenset({"mixed"}),
    ),
    "a cap": (
        {"intermediates": ["demo-nli", {**MIXED, "cap": 4}], "training": {"batch_size": 2}},
        ALL,
    ),
}


@pytest.mark.parametrize("name", OTHER)
def test_what_gives_other_numbers_has_another_key(name, planned) -> None:
    """Of the modules that stand on no other, those that the change is about; what stands on them
    follows."""
    change, about = OTHER[name]
    keys = []
    for found in (planned({}), planned(change)):
        alone = [
            job
            for job in found.train.values()
            if isinstance(job, TrainedModule) and not job.parents
        ]
        keys.append(
            {wanted: {job.key for job in alone if job.mixture.name == wanted} for wanted in ALL}
        )
    for wanted in ALL:
        assert (not keys[0][wanted] & keys[1][wanted]) == (wanted in about), wanted


def test_a_kept_trunk_is_in_the_key_of_what_is_trained(planned) -> None:
    """Its numbers differ by rounding, and dropout doesn't act in it; a method that adapts the
    lowest layer has none."""
    high = {"methods": [{**NECK, "leave_out": [0]}, {"name": "lora", "leave_out": [0]}]}
    one, other = planned(high), planned({**high, "trunk": "kept"})
    steps = {key for key in trained(one) if one.train[key].mixture.portions}
    assert steps and not steps & trained(other)
    with pytest.raises(XittError, match="trains the lowest layer, so that nothing lies below it"):
        planned({"trunk": "kept"})


def continued(found: Plan) -> list[TrainedModule]:
    """The modules of a plan that continue another."""
    return [job for job in found.train.values() if isinstance(job, TrainedModule) and job.start]


def test_a_carried_pooler_has_a_key_of_its_own_where_there_is_one(planned) -> None:
    pairs = {"targets": ["demo-pairs"], "modes": ["sequential"]}
    one, other = planned(pairs), planned({**pairs, "carry_pooler": True})
    assert {job.carry_pooler for job in continued(other)} == {True}
    started = [{job.key for job in continued(found)} for found in (one, other)]
    assert started[0] and not started[0] & started[1]


def test_a_head_that_is_named_is_in_a_cells_key_where_it_is_another(planned) -> None:
    found = planned({})
    jobs = {
        job.mixture.name: job
        for job in found.train.values()
        if not job.parents and job.method.name == "lora"
    }
    own, qa = jobs["demo-qa"], tasks.task("demo-qa")
    other = next(job for job in continued(found) if job.mixture.name == "demo-qa")

    def key(target: tasks.Task, head: str) -> str:
        return plan_cell(found, target, "de", own.context, 1, head=head)[0]["key"]

    assert key(qa, own.key) == key(qa, "") != key(qa, other.key)
    raw = tasks.task("demo-retrieval")
    assert key(raw, own.key) == key(raw, "") == key(raw, other.key), "no head is read"


def test_a_random_module_is_what_it_is_drawn_from(planned) -> None:
    """No schedule, rate or data reaches it."""
    keys = []
    for training in ({}, {"epochs": 1, "batch_size": 4, "dropout": 0.3, "learning_rate": 1.0e-3}):
        found = planned({"controls": ["capacity"], "training": training})
        keys.append({key for key, job in found.train.items() if not job.mixture.portions})
    assert keys[0] == keys[1] and len(keys[0]) == 2


def test_a_name_decides_no_number(tmp_path, pico_dir, pico_world) -> None:
    """A mixture under two names, and a portion in two spellings: one key, and the same tensors
    under it."""
    digests = []
    for name, portion in (("one", "demo-nli"), ("other", "demo-nli@en")):
        values = merged(
            BASE,
            {
                "encoder": str(pico_dir),
                "data": {"root": str(pico_world)},
                "methods": [NECK],
                "modes": ["sequential"],
                "intermediates": [portion, {**MIXED, "name": name}],
                "targets": ["demo-retrieval"],
                "training": {"max_steps": 2},
            },
        )
        found = recipe.parse(values, source="test", lines={})
        store = Store(tmp_path / name)
        made = planner.plan_recipe(found, Inputs(found, pico_world, store))
        common.run_work(
            common.Work(made, store), device="cpu", threads=1, log="none", keep_every=1000.0
        )
        digests.append({manifest.key: manifest.digest for manifest in store.manifests()})
    assert digests[0] == digests[1] and len(digests[0]) == 2


# -- the encoder -----------------------------------------------------------------------------------


def changed(
    pico_dir: Path,
    folder: Path,
    *,
    config: dict[str, Any] | None = None,
    drop: tuple[str, ...] = (),
    tensors: dict[str, Any] | None = None,
) -> Path:
    """The pico encoder with other values in config.json, without some of its keys, or with more
    tensors."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(pico_dir, folder)
    values = {**json.loads((folder / "config.json").read_text()), **(config or {})}
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in values.items() if key not in drop})
    )
    if tensors:
        path = folder / "model.safetensors"
        save_file({**load_file(path), **tensors}, path)
    return folder


@pytest.mark.parametrize("key", ["hidden_dropout_prob", "attention_probs_dropout_prob"])
def test_dropout_of_the_encoders_configuration_is_in_the_key_of_what_is_trained(
    key, planned, pico_dir, tmp_path
) -> None:
    other = changed(pico_dir, tmp_path / "other", config={key: 0.0})
    assert (
        pretrained.inspect(str(other)).fingerprint == pretrained.inspect(str(pico_dir)).fingerprint
    )
    before, after = planned({}), planned({}, encoder=other)
    assert not trained(before) & trained(after)
    spelled = {"training": {"dropout": 0.3}}
    assert trained(planned(spelled)) == trained(planned(spelled, encoder=other)), (
        "where it is spelled it alone counts"
    )
    raw = [
        {key for key, job in found.score.items() if not job.cell.seed} for found in (before, after)
    ]
    assert raw[0] == raw[1] != set(), "what nothing was trained for has no dropout"


def test_a_configuration_that_leaves_a_default_out_is_the_same_encoder(
    planned, pico_dir, tmp_path
) -> None:
    from transformers import XLMRobertaConfig

    spelled = {**pretrained.COMPUTES, **pretrained.DROPOUT}
    library = XLMRobertaConfig()
    assert {key: getattr(library, key) for key in spelled} == spelled
    config = json.loads((pico_dir / "config.json").read_text())
    silent = tuple(key for key, value in spelled.items() if config[key] == value)
    assert len(silent) == len(spelled) - 1  # but for the number of heads
    other = changed(pico_dir, tmp_path / "other", drop=silent)
    assert set(planned({}).train) == set(planned({}, encoder=other).train)


def test_the_checkpoints_own_head_is_in_the_key_of_what_reads_it(
    planned, pico_dir, tmp_path
) -> None:
    import torch

    words = json.loads((pico_dir / "config.json").read_text())["vocab_size"]
    encoders = [
        pico_dir,
        *(
            changed(
                pico_dir, tmp_path / str(n), tensors={"lm_head.bias": torch.full((words,), value)}
            )
            for n, value in enumerate((0.1, 0.2))
        ),
    ]
    assert len({pretrained.inspect(str(one)).fingerprint for one in encoders}) == 1
    plans = [
        planned(
            {"intermediates": ["demo-nli", "demo-nli:text"], "modes": ["sequential"]}, encoder=one
        )
        for one in encoders
    ]

    def alone(found: Plan, name: str) -> frozenset[str]:
        return frozenset(
            key for key, job in found.train.items() if job.mixture.name == name and not job.parents
        )

    assert len({alone(found, "demo-nli") for found in plans}) == 1
    texts = [alone(found, "demo-nli:text") for found in plans]
    assert all(texts) and not (texts[0] & texts[1] or texts[0] & texts[2] or texts[1] & texts[2])


def test_the_checkpoints_own_head_is_in_the_key_of_cells_that_guess_words(
    pico_dir, pico_world, tmp_path
) -> None:
    import torch

    words = json.loads((pico_dir / "config.json").read_text())["vocab_size"]
    other = changed(pico_dir, tmp_path / "other", tensors={"lm_head.bias": torch.ones(words)})
    (tmp_path / "test.txt").write_text("the red cat sees a dog\n" * 3)
    (tmp_path / "train.txt").write_text(
        "".join(f"the old bird helps a boy {n}\n" for n in range(40))
    )
    files = {"train": str(tmp_path / "train.txt"), "test": str(tmp_path / "test.txt")}
    keys = []
    for encoder in (pico_dir, other):
        values = merged(
            BASE,
            {
                "encoder": str(encoder),
                "data": {"root": str(pico_world)},
                "methods": [NECK],
                "intermediates": [],
                "targets": ["text"],
                "modes": ["none"],
                "tasks": {"text": {"files": files}},
            },
        )
        found = recipe.parse(values, source="test", lines={})
        made = planner.plan_recipe(found, Inputs(found, pico_world, Store(tmp_path / "store")))
        keys.append({job.cell.lm_head for job in made.score.values()})
    assert keys[0] == {""} and len(keys[1]) == 1 and "" not in keys[1]


# -- the schedule ----------------------------------------------------------------------------------

SETTINGS = st.builds(
    Settings,
    epochs=st.just(3),
    max_steps=st.none() | st.integers(1, 30),
    warmup=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    evaluate_every=st.none() | st.integers(1, 40),
    patience=st.none() | st.integers(1, 12),
    more_steps=st.sampled_from([0, 5]),
)


def behaviour(
    settings: Settings, epoch: float, scores: list[float]
) -> tuple[list[float], list[int], int]:
    """The share of the rate at every step taken, the steps looked at, and the best one: the loop,
    in plain words."""
    total = settings.steps(epoch)
    every = settings.evaluate_every or math.ceil(total / 10)
    rates, looks, best, worse = [], [], 0, 0
    for step in range(1, total + 1):
        rates.append(settings.rate_share(step - 1, total))
        if step % every and step != total:
            continue
        looks.append(step)
        score = scores[(len(looks) - 1) % len(scores)]
        if len(looks) == 1 or score > max(scores[n % len(scores)] for n in range(len(looks) - 1)):
            best, worse = step, 0
        else:
            worse += 1
            if settings.patience is not None and worse >= settings.patience and step < total:
                return rates, looks, best
    return rates, looks, best


@given(
    one=SETTINGS,
    other=SETTINGS,
    epoch=st.integers(1, 9),
    scores=st.lists(st.integers(0, 3), min_size=1, max_size=9),
)
def test_settings_that_resolve_alike_train_alike(one, other, epoch, scores) -> None:
    totals = [settings.steps(epoch) for settings in (one, other)]
    if one.resolved(totals[0]) == other.resolved(totals[1]):
        assert behaviour(one, epoch, scores) == behaviour(other, epoch, scores)


@given(one=SETTINGS, other=SETTINGS, epoch=st.integers(1, 9))
def test_settings_that_train_alike_resolve_alike(one, other, epoch) -> None:
    """Scores that only fall stop every row as early as its patience allows, those that only rise
    stop none."""
    falling, rising = [float(-n) for n in range(60)], [float(n) for n in range(60)]
    if all(
        behaviour(one, epoch, scores) == behaviour(other, epoch, scores)
        for scores in (falling, rising)
    ):
        assert one.resolved(one.steps(epoch)) == other.resolved(other.steps(epoch))


def test_label_spaces_with_a_pooler():
    """By their kind, whole: one whose name only begins alike is another."""
    assert all(keys.pooled([space]) for space in ("pair3_51247b", "pair", "choice"))
    assert not any(keys.pooled([space]) for space in ("pairwise3_51247b", "pairs", "mlm", "qa"))


def test_a_random_module_is_frozen_where_all_others_are_continued(planned) -> None:
    """Without a mode that freezes modules the control of capacity has a row of its own in one."""
    found = planned({"modes": ["none", "sequential"], "controls": ["capacity"]})
    both = planned({"modes": ["none", "sequential", "stack", "sum"], "controls": ["capacity"]})

    def rows(made: Plan) -> set[tuple]:
        return {
            (entry.method.partition("(")[0], entry.target, entry.mode, entry.key)
            for entry in made.entries
            if entry.intermediate == "random" and entry.status != "not applicable"
        }

    assert {row[:3] for row in rows(found)} == {
        (method, target, mode)
        for method, mode in (("seq_bn", "stack"), ("lora", "sum"))
        for target in ("demo-qa", "demo-retrieval")
    }
    assert rows(found) == rows(both)


def test_an_intermediate_trains_on_its_own_split_where_a_recipe_names_it(planned) -> None:
    """Whatever trains the task as a target."""
    files = {split: f"demo-nli/{split}-{{lang}}.tsv" for split in ("train", "dev")}
    part = {"mnli": {"files": files}, "demo-nli": {"trained_on": "mnli", "train": "train"}}
    found = planned({"intermediates": ["demo-nli"], "targets": ["demo-nli"], "tasks": part})
    after = {job.mixture.text: found.train[job.parents[0]].mixture.text for job in continued(found)}
    assert after == {"mnli": "demo-nli"}
