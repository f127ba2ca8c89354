"""A row that can't be planned, mounted, trained or scored ends itself, never the run; and says why
in the grid."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from test_run import outcome, xitt

from adapters_xitt.errors import XittError
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.modules.composition import Fuse
from adapters_xitt.study import plan
from adapters_xitt.study.store import Store

RECIPE = """encoder: {encoder}
data: {{root: {root}}}
methods:
  - {{name: seq_bn, reduction: 4, learning_rate: 1.0e-2}}
  - {{name: lora, learning_rate: 1.0e-2}}
intermediates: [demo-nli, demo-pos]
targets: [demo-nli, demo-pairs]
modes: [none, sequential, stack, fuse]
languages: [de, fi]
seeds: [1]
lengths: {{max_length: 40}}
training: {{batch_size: 8, max_steps: 2, selection_examples: 6, tokens: 160}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory, pico_dir, pico_world) -> Path:
    path = tmp_path_factory.mktemp("failures") / "grid.yaml"
    path.write_text(RECIPE.format(encoder=pico_dir, root=pico_world))
    return path


@pytest.fixture(scope="module")
def finished(recipe) -> Path:
    store = recipe.parent / "store"
    xitt("run", recipe, "--store", store, "--device", "cpu")
    return store


def entries(store: Path) -> list[dict]:
    return json.loads((store / "runs" / "grid" / "grid.json").read_text())["entries"]


def test_the_targets_own_module_counts_once_in_a_fusion(finished) -> None:
    """demo-nli is an intermediate and, by itself, the target's own module: two parts, not one
    twice."""
    assert {entry["status"] for entry in entries(finished)} == {"done", "not applicable"}
    fused = [entry for entry in entries(finished) if entry["mode"] == "fuse"]
    assert {
        (entry["method"].partition("(")[0], entry["target"], *entry["fusion"]["parts"])
        for entry in fused
    } == {
        (method, *parts)
        for method in ("seq_bn", "lora")
        for parts in (
            ("demo-nli", "demo-nli", "demo-pos"),
            ("demo-pairs", "demo-nli", "demo-pos", "demo-pairs"),
        )
    }


def test_a_fusion_needs_two_modules(recipe, tmp_path) -> None:
    xitt(
        "run",
        recipe,
        "intermediates=[demo-nli]",
        "targets=[demo-nli]",
        "modes=[none, fuse]",
        "languages=[de]",
        "--store",
        tmp_path,
        "--device",
        "cpu",
    )
    fused = [entry for entry in entries(tmp_path) if entry["mode"] == "fuse"]
    assert {entry["status"] for entry in fused} == {"not applicable"}
    assert "demo-nli's own module" in fused[0]["reason"]


def test_what_people_call_a_mixture_decides_no_number(recipe, finished, tmp_path) -> None:
    """The same module is asked for under a target's name and under an intermediate's, in either
    order."""
    xitt(
        "run",
        recipe,
        "targets=[demo-pairs, demo-nli]",
        "modes=[none, sequential]",
        "--store",
        tmp_path,
        "--device",
        "cpu",
    )
    again, before = outcome(tmp_path)["modules"], outcome(finished)["modules"]
    assert again and {key: before[key] for key in again} == again


def refused(resolve):
    def setup(composition, methods, layers):
        if isinstance(composition, Fuse):
            raise XittError("no proven form today")
        return resolve(composition, methods, layers)

    return setup


def test_the_plan_lowers_every_composition(recipe, finished, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(plan, "resolve", refused(plan.resolve))
    printed = xitt("plan", recipe, "--store", tmp_path, code=1)
    assert "8 failed" in printed and "no proven form today" in printed
    printed = xitt("run", recipe, "--store", tmp_path, "--device", "cpu", code=1)
    assert "failed: 8 places: no proven form today" in printed
    same = [entry for entry in entries(finished) if entry["mode"] != "fuse"]
    assert [entry["score"] for entry in entries(tmp_path) if entry["mode"] != "fuse"] == [
        entry["score"] for entry in same
    ]
    assert not any(
        one.method["name"] in ("fusion", "weights") for one in Store(tmp_path).manifests()
    ), "nothing is trained for a row that can't be run"


def test_a_module_that_breaks_ends_its_own_row(recipe, finished, tmp_path, monkeypatch) -> None:
    """Of modules that train side by side the others train on; its traceback is told, and the next
    run mends it."""
    mount = AdaptedEncoder.add

    def broken(self, name, method, **rest):
        if method.name == "fusion" or (
            method.name == "lora" and "tensors" in rest and rest["tensors"]
        ):
            mount(self, name, method, **rest)  # breaks off half-way: it is in the encoder by now
            raise RuntimeError("the library broke")
        mount(self, name, method, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(AdaptedEncoder, "add", broken)
        printed = xitt("run", recipe, "--store", tmp_path, "--device", "cpu", code=1)
    assert "RuntimeError: the library broke" in printed and "Traceback" in printed
    place = ("method", "mode", "intermediate", "target", "language")
    clean = {tuple(entry[name] for name in place): entry["score"] for entry in entries(finished)}
    for entry in entries(tmp_path):
        breaks = entry["method"] == "lora" or entry["mode"] == "fuse"
        if entry["status"] == "failed":
            assert breaks and "RuntimeError: the library broke" in entry["reason"], entry
        else:
            assert entry["score"] == clean[tuple(entry[name] for name in place)]
            assert entry["status"] == "not applicable" or not breaks
    xitt("run", recipe, "--store", tmp_path, "--device", "cpu")
    assert outcome(tmp_path) == outcome(finished)


def test_a_damaged_module_ends_the_cells_that_it_stands_in(recipe, finished, tmp_path) -> None:
    store = shutil.copytree(finished, tmp_path / "store")
    shutil.rmtree(store / "results")
    (key,) = [
        one.key
        for one in Store(store).manifests()
        if one.trained_on == "demo-pos" and one.method["name"] == "seq_bn"
    ]
    (store / "modules" / key / "module.safetensors").write_bytes(b"no tensors")
    xitt("run", recipe, "--store", store, "--device", "cpu", code=1)
    found = entries(store)
    failed = {
        (entry["method"].partition("(")[0], entry["intermediate"], entry["mode"])
        for entry in found
        if entry["status"] == "failed"
    }
    assert failed == {("seq_bn", "demo-pos", "stack"), ("seq_bn", "all of them", "fuse")}
    assert all(
        "module.safetensors" in entry["reason"] for entry in found if entry["status"] == "failed"
    )
    clean = {entry["key"]: entry["score"] for entry in entries(finished)}
    assert all(
        entry["score"] == clean[entry["key"]] for entry in found if entry["status"] == "done"
    )


def test_an_encoder_that_can_not_be_loaded_is_no_rows_failure(
    recipe, tmp_path, monkeypatch
) -> None:
    from adapters_xitt.model import encoder

    def refuse(*words, **more):
        raise XittError("this encoder can't be loaded")

    monkeypatch.setattr(encoder, "load", refuse)
    assert "can't be loaded" in xitt("run", recipe, "--store", tmp_path, "--device", "cpu", code=2)
