"""What single commands say of encoders, modules and data is so, and what they advise can be
done."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from test_run import xitt

LENGTHS = "lengths.max_length=40"
QUICK = ("training={batch_size: 8, max_steps: 1, selection_examples: 6}", LENGTHS)


@pytest.fixture(scope="module")
def data(tmp_path_factory, pico_world) -> Path:
    """The pico world with a little text in two languages."""
    root = shutil.copytree(pico_world, tmp_path_factory.mktemp("told") / "data")
    (root / "text").mkdir()
    for language in ("en", "de"):
        (root / "text" / f"{language}.txt").write_text(
            "\n".join(
                f"{n} the {word} cat sees a tree"
                for n in range(8)
                for word in "red blue green small large".split()
            )
        )
    return root


@pytest.mark.parametrize("method", ["seq_bn", "lora"])
def test_the_language_module_that_is_advised_can_be_trained(
    method, data, pico_dir, tmp_path
) -> None:
    machine = ("--store", tmp_path / "store", "--data", data, "--device", "cpu")
    xitt(
        "train",
        "demo-pairs",
        "--method",
        method,
        "--name",
        "pairs",
        "--encoder",
        pico_dir,
        *QUICK,
        *machine,
    )
    wanted = (
        "evaluate",
        "$lang > pairs" if method == "seq_bn" else "$lang + pairs",
        "demo-pairs",
        LENGTHS,
        "--language",
        "de",
        *machine,
    )
    told = xitt(*wanted, code=2)
    advised = re.search(r"as in xitt (train .*?), or name", told.replace("\n", " "))
    xitt(*shlex.split(advised[1]), *QUICK, *machine)
    assert "accuracy" in xitt(*wanted)


def test_a_pattern_that_gives_no_name_is_refused(data, pico_dir, tmp_path) -> None:
    machine = ("--store", tmp_path / "store", "--data", data, "--device", "cpu")
    xitt("train", "demo-pairs", "--name", "pairs", "--encoder", pico_dir, *QUICK, *machine)
    told = xitt(
        "evaluate", "$lang > pairs", "demo-pairs", LENGTHS, "--lang", "MAD/{lang}", *machine, code=2
    )
    assert "is made of a-z" in told and "MAD/" in told


def test_where_a_module_has_no_score_the_store_says_why(data, pico_dir, tmp_path) -> None:
    machine = (
        "--store",
        tmp_path / "store",
        "--data",
        data,
        "--encoder",
        pico_dir,
        "--device",
        "cpu",
    )
    for name, seed in (("low", 1), ("other", 2)):
        xitt(
            "train",
            "demo-pairs",
            "--method",
            "lora",
            "--name",
            name,
            "--seed",
            seed,
            *QUICK,
            *machine,
        )
    xitt("compose", "0.5*low + other", "--save", "both", *machine)
    xitt("export", "low", tmp_path / "out", "--form", "adapters", "--store", tmp_path / "store")
    xitt(
        "import",
        tmp_path / "out",
        "--name",
        "theirs",
        "--encoder",
        pico_dir,
        "--task",
        "demo-pairs",
        "--store",
        tmp_path / "store",
    )
    shown = {
        cells[2]: cells[5]
        for line in xitt("show", "--store", tmp_path / "store").splitlines()
        if len(cells := [cell.strip() for cell in line.split("│")]) > 6
    }
    assert (shown["both"], shown["theirs"]) == ("merged", "not known") and "accuracy" in shown[
        "low"
    ]


def test_training_without_an_encoder_says_which_it_takes(tmp_path) -> None:
    told = xitt(
        "train",
        "demo-pairs",
        "training.max_steps=1",
        "training.selection_examples=6",
        "--store",
        tmp_path,
        "--device",
        "cpu",
    )
    assert told.count("--encoder demo") == 1
    named = xitt(
        "train",
        "demo-pairs",
        "training.max_steps=1",
        "training.selection_examples=6",
        "--encoder",
        "demo",
        "--store",
        tmp_path,
        "--device",
        "cpu",
    )
    assert "no --encoder" not in named


@pytest.mark.parametrize("root", ["folder", "nothing"])
def test_the_small_world_is_named_where_its_tasks_are_asked_for(
    root, pico_dir, tmp_path, monkeypatch
) -> None:
    """One fact, one line: not a missing file for each split and language."""
    recipe = tmp_path / "small.yaml"
    recipe.write_text(
        f"encoder: {pico_dir}\nmethods: [seq_bn]\nintermediates: [demo-nli, demo-qa]\n"
        "targets: [demo-pairs, demo-pos, demo-retrieval]\n"
    )
    (
        monkeypatch.setenv("XITT_DATA", str(tmp_path))
        if root == "folder"
        else monkeypatch.delenv("XITT_DATA", False)
    )
    told = xitt("plan", recipe, "--store", tmp_path / "store", code=2)
    assert "data: {root: demo}" in told and "1 problem" in told and "no such file" not in told
