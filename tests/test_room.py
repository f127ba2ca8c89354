"""What is mounted side by side is accounted for, and what fits is mounted; the numbers are the
same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pico
import pytest
import torch
from pico import CHOICES
from test_run import outcome, xitt

from adapters_xitt.api import common
from adapters_xitt.kinds import heads
from adapters_xitt.model.adapted import AdaptedEncoder
from adapters_xitt.modules.methods import fusion_of
from adapters_xitt.study import memory_plan
from adapters_xitt.study.scorer import CellScorer
from adapters_xitt.training.memory import MemoryPlan, Workload, account, fit_groups

RECIPE = """encoder: {encoder}
data: {root}
methods: [{{name: seq_bn, reduction: 4, learning_rate: 1e-2}}, {{name: lora, learning_rate: 1e-2}}]
intermediates: [demo-nli, demo-pos]
targets: [demo-pairs, demo-retrieval]
modes: [none, sequential, stack, sum, fuse]
languages: [en, de]
lengths: {{max_length: 40}}
training: {{batch_size: 8, max_steps: 2, selection_examples: 6, dropout: 0.1}}
"""


def test_items_are_grouped_by_what_they_hold_together() -> None:
    held = {
        "a": {"x": 4, "y": 4},
        "b": {"x": 4, "z": 4},
        "c": {"z": 4},
        "d": {"w": 99},
        "e": {"x": 4},
    }
    assert fit_groups("abcde", held.__getitem__, 12) == [["a", "b", "c"], ["d"], ["e"]]
    assert fit_groups("abcde", held.__getitem__, None, most=2) == [
        ["a", "b"],
        ["c", "d"],
        ["e"],
    ]
    assert fit_groups("abcde", held.__getitem__, 1) == [["a"], ["b"], ["c"], ["d"], ["e"]]


def moments(trained: list[torch.Tensor]) -> int:
    """Bytes that AdamW's state takes for tensors that have had a step, its counters left out."""
    optimizer = torch.optim.AdamW(trained)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return sum(
        state[name].nbytes
        for state in optimizer.state.values()
        for name in ("exp_avg", "exp_avg_sq")
    )


@pytest.mark.parametrize("method", ["seq_bn", "lora"])
def test_the_account_of_a_fusion_is_what_is_alive(method: str, pico_files) -> None:
    choice = CHOICES[method]
    taken = account(
        pico_files, choice, MemoryPlan(tokens=480), Workload(length=40, step_tokens=480, parts=3)
    )
    adapted = pico.adapted(pico_files)
    for part in "abc":
        adapted.add(part, choice)
    adapted.add("f", fusion_of(choice, 3), over=("a", "b", "c"))
    head = heads.build("pair", adapted.encoder, 3, seed=0)
    trained = [*adapted.trainable("f").values(), *head.parameters()]
    assert taken.beside == sum(
        value.nbytes for part in "abc" for value in adapted.parameters(part).values()
    )
    assert taken.module == taken.gradients == sum(parameter.nbytes for parameter in trained)
    assert taken.moments == moments(trained)
    plain = account(
        pico_files, choice, MemoryPlan(tokens=480), Workload(length=40, step_tokens=480)
    )
    assert (taken.weights, taken.embeddings, plain.beside) == (plain.weights, plain.embeddings, 0)
    assert taken.fixed > plain.fixed, "its attention is kept for the backward pass"


@pytest.fixture(scope="module")
def runs(tmp_path_factory, pico_dir, pico_world) -> dict[str, Any]:
    """A recipe run with all the room there is, and with as much as the largest cell needs: the
    plans, the stores, and the most bytes of modules that were mounted at once while training and
    while scoring."""
    folder = tmp_path_factory.mktemp("room")
    recipe = folder / "grid.yaml"
    recipe.write_text(RECIPE.format(encoder=pico_dir, root=pico_world))
    whole = common.open_recipe(recipe, (), folder / "none").plan
    room = max(sum(whole.held_bytes(job.modules).values()) for job in whole.score.values())
    held: dict[str, list[int]] = {"train": [], "score": []}
    patch, stage = pytest.MonkeyPatch(), ["train"]
    mount, decide, score = AdaptedEncoder.add, memory_plan.decide, CellScorer.score

    def watched(adapted: AdaptedEncoder, *words, **options) -> None:
        mount(adapted, *words, **options)
        held[stage[0]].append(
            sum(
                value.nbytes
                for name in adapted.methods
                for value in adapted.parameters(name).values()
            )
        )

    def scored(scorer: CellScorer, *words) -> None:
        stage[0] = "score"
        score(scorer, *words)

    def run(name: str) -> dict[str, int]:
        stage[0] = "train"
        held.update(train=[], score=[])
        xitt("run", recipe, "--store", folder / name, "--device", "cpu")
        return {stage: max(sizes) for stage, sizes in held.items()}

    patch.setattr(AdaptedEncoder, "add", watched)
    patch.setattr(CellScorer, "score", scored)
    wide = run("wide")
    patch.setattr(memory_plan, "decide", lambda *words: (replace(decide(*words)[0], room=room), []))
    narrow, plan = run("narrow"), common.open_recipe(recipe, (), folder / "none").plan
    patch.undo()
    return {
        "folder": folder,
        "room": room,
        "wide": wide,
        "narrow": narrow,
        "plan": plan,
        "whole": whole,
    }


def test_no_more_is_mounted_than_fits(runs) -> None:
    assert runs["narrow"]["score"] <= runs["room"] < runs["wide"]["score"]
    assert runs["narrow"]["train"] < runs["wide"]["train"]
    cohorts, wider = runs["plan"].train_cohorts(), runs["whole"].train_cohorts()
    assert len(cohorts) > len(wider) and {job.key for one in cohorts for job in one.jobs} == set(
        runs["whole"].train
    )
    for cohort in cohorts:
        held: dict[str, int] = {}
        for job in cohort.jobs:
            held |= runs["plan"]._trained_bytes(job)
        assert sum(held.values()) <= runs["room"] or len(cohort.jobs) == 1


def test_the_numbers_are_the_same_however_much_is_mounted(runs) -> None:
    folder: Path = runs["folder"]
    assert outcome(folder / "wide") == outcome(folder / "narrow")


def test_memory_leaves_room_for_what_trains_side_by_side(runs, pico_files) -> None:
    recipe = runs["folder"] / "grid.yaml"
    budget = (
        account(
            pico_files, CHOICES["seq_bn"], MemoryPlan(tokens=4096), Workload(length=40, parts=3)
        ).total
        + 2**20
    )
    plan = common.open_recipe(
        recipe, [f"memory={budget / 1000:.0f}KB"], runs["folder"] / "none"
    ).plan
    room = plan.inputs.memory_plan.room
    assert room is not None and 0 < room < budget
    assert any("modules side by side" in note for note in plan.notes)
