"""Grids beyond the plain one, end to end: mixtures, controls, fusions, sweeps, language modules,
other languages."""

from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pico_world as world
import pytest
from test_run import outcome, xitt

from adapters_xitt.modules import serialization
from adapters_xitt.study.store import Store

RECIPE = """# Does everything that a recipe can ask finish?
encoder: {encoder}
data: {{root: {root}}}
methods:
  - {{name: seq_bn, reduction: 4, learning_rate: 1.0e-2}}
  - {{name: lora, learning_rate: 1.0e-2}}
intermediates:
  - demo-nli
  - {{name: all, tasks: [demo-nli, demo-qa], sampling: even, training: {{max_steps: 9}}}}
targets: [demo-pairs, demo-pos, demo-retrieval]
modes: [none, sequential, stack, sum, fuse]
controls: [capacity, steps, permuted]
fusion_rate: 3.0e-3
languages: [en, de]
seeds: [1, 2]
lengths: {{max_length: 40, stride: 8, question: 8}}
training: {{batch_size: 8, max_steps: 6, evaluate_every: 3, selection_examples: 6, tokens: 160}}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pico_dir, pico_world) -> tuple[Path, Path, str]:
    folder = tmp_path_factory.mktemp("study")
    recipe = folder / "study.yaml"
    recipe.write_text(RECIPE.format(encoder=pico_dir, root=pico_world))
    return (
        recipe,
        folder / "store",
        xitt("run", recipe, "--store", folder / "store", "--device", "cpu"),
    )


def grid(store: Path, name: str = "study") -> list[dict]:
    return json.loads((store / "runs" / name / "grid.json").read_text())["entries"]


def test_every_row_is_there_and_done_or_says_why_not(finished) -> None:
    _, store, _ = finished
    entries = grid(store)
    assert {entry["status"] for entry in entries} == {"done", "not applicable"}
    rows = Counter(
        (entry["method"].partition("(")[0], entry["intermediate"], entry["mode"])
        for entry in entries
        if entry["target"] == "demo-pos" and entry["status"] == "done"
    )
    joined = {"seq_bn": "stack", "lora": "sum"}
    wanted = {(method, "", "none") for method in joined}
    for method, mode in joined.items():
        wanted |= {
            (method, name, one)
            for name in ("demo-nli", "all", "demo-nli:permuted")
            for one in ("sequential", mode)
        }
        wanted |= {
            (method, "random", mode),
            (method, "all of them", "fuse"),
            (method, "random", "fuse"),
            (method, "demo-nli's steps", "none"),
            (method, "all's steps", "none"),
        }
    assert set(rows) == wanted
    assert set(rows.values()) == {2 * 2}, "two seeds in two languages"


def test_a_mixture_keeps_a_head_for_every_label_space_and_the_shares_asked(finished) -> None:
    _, store, _ = finished
    mixed = [found for found in Store(store).manifests() if found.trained_on == "all"]
    assert mixed and all(
        {head["kind"] for head in found.heads.values()} == {"pair", "qa"} for found in mixed
    )
    for found in mixed:
        assert found.metrics["planned_steps"] == 9
        assert {name.partition(".")[0] for name in found.metrics["history"][-1]} == {
            "step",
            "loss",
            "demo-nli",
            "demo-qa",
        }
        assert {(one["task"], one["role"]) for one in found.exposure} == {
            (task, role) for task in ("demo-nli", "demo-qa") for role in ("trained", "selected")
        }


def test_the_control_of_steps_takes_the_steps_of_both(finished) -> None:
    _, store, _ = finished
    steps = {
        found.role.partition(",")[0]: found.metrics["planned_steps"]
        for found in Store(store).manifests()
        if "steps" in found.role
    }
    assert (
        steps["demo-pos with demo-nli's steps"] == 12 and steps["demo-pos with all's steps"] == 15
    )


def test_random_modules_are_random_and_stay(finished) -> None:
    _, store, _ = finished
    random = [found for found in Store(store).manifests() if found.trained_on == "random"]
    assert len(random) == 2 * 2
    assert all(found.metrics["steps"] == 0 and not found.exposure for found in random)


def test_the_report_tells_how_fusions_weight_their_parts(finished, tmp_path) -> None:
    """The CSV against the stored results, the picture drawn, and the sentence against both."""
    _, store, _ = finished
    printed = " ".join(xitt("report", "study", "--store", store, "--out", tmp_path).split())
    with open(tmp_path / "fusion.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    found = {entry["key"]: entry for entry in grid(store) if entry.get("fusion")}
    told: dict[tuple, list[float]] = {}
    for line in lines:
        place = (
            line["method"],
            line["intermediate"],
            line["target"],
            line["language"],
            int(line["seed"]),
        )
        told.setdefault(place, []).append(float(line["weight"]))
    results = {
        (e["method"], e["intermediate"], e["target"], e["language"], e["seed"]): [
            weight for row in e["fusion"]["weights"] for weight in row
        ]
        for e in found.values()
    }
    assert results and told == results
    assert (tmp_path / "fusion.png").read_bytes().startswith(b"\x89PNG")
    method = next(e["method"] for e in found.values() if e["method"].startswith("lora"))
    own = [
        float(line["weight"])
        for line in lines
        if line["method"] == method
        and line["target"] == "demo-pos"
        and line["intermediate"] == "all of them"
        and line["part"] == "demo-pos"
    ]
    assert f"demo-pos, {method}, all of them: demo-pos {np.mean(own):.2f} ±" in printed


def test_task_arithmetic_from_the_command_line(finished, tmp_path) -> None:
    """Weighted sums of stored modules are cells of their own; a number of 1 is none."""
    recipe, store, _ = finished
    found = {
        one.trained_on: one.key[:16]
        for one in Store(store).manifests()
        if one.method["name"] == "lora"
        and one.seed == 1
        and not one.training["below"]
        and not one.training["start"]
    }
    nli, pos = found["demo-nli"], found["demo-pos"]
    copy = shutil.copytree(store, tmp_path / "s")
    shutil.rmtree(copy / "results")
    data = json.loads((store / "runs" / "study" / "grid.json").read_text())["recipe"]["data"][
        "root"
    ]

    def scored(expression: str) -> None:
        xitt(
            "evaluate",
            "--store",
            copy,
            "--data",
            data,
            "--language",
            "de",
            "--device",
            "cpu",
            "--set",
            "lengths={max_length: 40, stride: 8, question: 8}",
            "--",
            expression,
            "demo-pos",
        )

    for expression in (
        pos,
        f"1.0*{pos}",
        f"0.5*{nli} + {pos}",
        f"{nli} + {pos}",
        f"-0.5*{nli} + {pos}",
    ):
        scored(expression)
    cells = {result.cell.composition: result.predictions for result in Store(copy).results()}
    assert len(cells) == len(set(cells.values())) == 4
    assert sum("0.5*" in text for text in cells) == 2
    printed = xitt(
        "evaluate", f"0.5*{nli} > {pos}", "demo-pos", "--store", copy, "--data", data, code=2
    )
    assert "low-rank updates don't stack" in printed and recipe.is_file()


def test_a_fusion_is_read_in_bf16_too(finished, tmp_path) -> None:
    recipe, *_ = finished
    xitt(
        "run",
        recipe,
        "--precision",
        "bf16",
        "seeds=[1]",
        "targets=[demo-pos]",
        "modes=[none, fuse]",
        "controls=[]",
        "languages=[en]",
        "--store",
        tmp_path / "s",
        "--device",
        "cpu",
    )
    weights = [entry["fusion"]["weights"] for entry in grid(tmp_path / "s") if entry.get("fusion")]
    assert weights and all(np.isfinite(one).all() for one in weights)


def test_fusions_come_back_from_the_store(finished) -> None:
    """A second store with the modules alone: scoring loads every one of them, fusions with their
    parts."""
    recipe, store, _ = finished
    fusions = [
        found for found in Store(store).manifests() if found.method["name"] in ("fusion", "weights")
    ]
    assert {found.method["name"] for found in fusions} == {"fusion", "weights"}
    assert {found.training["learning_rate"] for found in fusions} == {3e-3}
    for entry in grid(store):
        if entry["mode"] == "fuse" and entry["status"] == "done":
            assert entry["fusion"]["parts"][-1] == entry["target"]
            weights = entry["fusion"]["weights"]
            assert len(weights) == 4 * (1 if entry["method"].startswith("seq_bn") else 2)
            if entry["method"].startswith("seq_bn"):
                assert all(
                    sum(row) == pytest.approx(1, abs=1e-5) and min(row) > 0 for row in weights
                )
    before = outcome(store)
    results = store / "results"
    kept = results.rename(store / "kept")
    xitt("run", recipe, "--store", store, "--device", "cpu")
    assert outcome(store) == before
    __import__("shutil").rmtree(kept)


def test_the_report_shows_every_row(finished) -> None:
    _, store, printed = finished
    page = (store / "runs" / "study" / "report.md").read_text()
    for word in ("demo-nli:permuted", "all of them", "random", "demo-nli's steps"):
        assert word in page and word in printed


def test_a_sweep_keeps_the_best_of_equals(finished, tmp_path: Path) -> None:
    recipe, _, _ = finished
    words = (
        "sweep=[0.1, 1.0]",
        "modes=[none, sequential]",
        "controls=[]",
        "intermediates=[demo-nli]",
        "seeds=[1]",
        "targets=[demo-pairs]",
        "name=swept",
    )
    xitt("run", recipe, *words, "--store", tmp_path / "s", "--device", "cpu")
    store = Store(tmp_path / "s")
    chosen = [found for found in store.manifests() if found.training["candidates"]]
    assert len(chosen) == 3 * 2, (
        "the target alone, the intermediate, the target after it; two methods"
    )
    for found in chosen:
        tried = [
            serialization.read_manifest(store.module_folder(key))
            for key in found.training["candidates"]
        ]
        assert [one.training["learning_rate"] for one in tried] == pytest.approx([1e-3, 1e-2])
        best = max(tried, key=lambda one: one.metrics["score"])
        assert (found.metrics["score"], found.digest) == (best.metrics["score"], best.digest)


def test_training_in_other_languages_is_tagged(tmp_path: Path, pico_dir) -> None:
    root = world.write(tmp_path / "data")
    for language in ("de", "fi"):
        for split in ("train", "dev"):
            text = (root / "demo-nli" / f"{split}-en.tsv").read_text()
            (root / "demo-nli" / f"{split}-{language}.tsv").write_text(text)
    recipe = tmp_path / "study.yaml"
    recipe.write_text(RECIPE.format(encoder=pico_dir, root=root))
    xitt(
        "run",
        recipe,
        "intermediates=[demo-nli@de+fi, demo-nli@fi]",
        "modes=[none, sequential]",
        "controls=[]",
        "seeds=[1]",
        "targets=[demo-pos]",
        "languages=[en, de, fi]",
        "--store",
        tmp_path / "s",
        "--device",
        "cpu",
    )
    tags = {
        (entry["intermediate"], entry["language"]): entry["tag"]
        for entry in grid(tmp_path / "s")
        if entry["method"] == "lora"
    }
    assert tags == {
        ("", "en"): "task+language-seen",
        ("", "de"): "zero-shot",
        ("", "fi"): "zero-shot",
        ("demo-nli@de+fi", "en"): "task+language-seen",
        ("demo-nli@de+fi", "de"): "language-seen",
        ("demo-nli@de+fi", "fi"): "language-seen",
        ("demo-nli@fi", "en"): "task+language-seen",
        ("demo-nli@fi", "de"): "zero-shot",
        ("demo-nli@fi", "fi"): "language-seen",
    }
    both = next(
        found for found in Store(tmp_path / "s").manifests() if found.trained_on == "demo-nli@de+fi"
    )
    assert both.languages == ["de", "fi"]


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("intermediates=[demo-nlo]", "Did you mean 'demo-nli'"),
        ("intermediates=[demo-nli@xx]", "unknown language 'xx'"),
        ("intermediates=[demo-nli:permutd]", "Did you mean 'permuted'"),
        ("intermediates=[demo-retrieval]", "trains nothing"),
        (
            "intermediates=[{name: m, tasks: [demo-nli], shares: {demo-nli: 0.5}}]",
            "must leave something",
        ),
        (
            "intermediates=[{name: m, tasks: [demo-nli, demo-qa], shares: {demo-qo: 0.5}}]",
            "Did you mean 'demo-qa'",
        ),
        ("intermediates=[{name: m, tasks: [demo-nli], samplin: even}]", "Did you mean 'sampling'"),
        ("controls=[capacty]", "Did you mean 'capacity'"),
        ("intermediates=[demo-nli@fi]", "train-fi.tsv: no such file"),
    ],
)
def test_wrong_studies_are_told(finished, words: str, part: str, tmp_path: Path) -> None:
    printed = xitt("run", finished[0], words, "--store", tmp_path / "none", code=2)
    assert part in printed and "Traceback" not in printed
    assert not (tmp_path / "none").exists()


def test_language_modules_are_swapped_and_text_trains_beside_tasks(
    tmp_path: Path, pico_dir
) -> None:
    """MAD-X: one target module per seed, above English; in German it stands above the German
    module, and has seen the language; Finnish has no text and says so. Masked words take the share
    of the steps that was asked."""
    root = world.write(tmp_path / "data")
    for language in ("en", "de"):
        (root / "text").mkdir(exist_ok=True)
        lines = [
            f"the {word} cat sees a tree and the old {word} house"
            for word in "red blue green small large".split()
        ]
        (root / "text" / f"{language}.txt").write_text(
            "\n".join(f"{n} {line}" for n in range(8) for line in lines)
        )
    recipe = tmp_path / "study.yaml"
    recipe.write_text(RECIPE.format(encoder=pico_dir, root=root))
    xitt(
        "run",
        recipe,
        "modes=[none, sequential, lang]",
        "controls=[text]",
        "seeds=[1]",
        "targets=[demo-pos]",
        "languages=[en, de, fi]",
        "methods=[{name: seq_bn_inv, reduction: 4}, lora, ia3]",
        "training.max_steps=8",
        "intermediates=[demo-nli, {name: mixed, tasks: [demo-nli, text], shares: {text: 0.25}}]",
        "--store",
        tmp_path / "s",
        "--device",
        "cpu",
        "--log",
        "csv",
    )
    entries, store = grid(tmp_path / "s"), Store(tmp_path / "s")
    swapped = {
        (entry["method"], entry["language"]): entry for entry in entries if entry["mode"] == "lang"
    }
    for method in ("seq_bn_inv(reduction=4)", "lora", "ia3"):
        assert [swapped[method, language]["status"] for language in ("en", "de", "fi")] == [
            "done",
            "done",
            "not applicable",
        ]
        assert swapped[method, "de"]["tag"] == "language-seen"
        keys = {
            language: store.load_result(swapped[method, language]["key"]).cell.composition
            for language in ("en", "de")
        }
        assert keys["en"] != keys["de"] and keys["en"].split()[-1] == keys["de"].split()[-1]
    above = next(found for found in store.manifests() if "(lang), seq_bn(" in found.role)
    assert above.method["name"] == "seq_bn" and above.method["reduction"] == 4
    texts = [found for found in store.manifests() if found.trained_on == "demo-nli:text"]
    assert texts and all(found.heads == {"mlm": {"kind": "mlm", "labels": []}} for found in texts)
    assert all(
        "mlm.decoder" not in name
        for found in texts
        for name in store.load_module(found.key).tensors
    )
    mixed = next(found for found in store.manifests() if found.trained_on == "mixed")
    assert set(mixed.heads) == {
        "mlm",
        next(name for name in mixed.heads if name.startswith("pair3")),
    }
    assert {entry["status"] for entry in entries} == {"done", "not applicable"}
