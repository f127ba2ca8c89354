"""What a plan says: every problem at once, a fact a line, the summary first, and without an
encoder's weights too."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from adapters_xitt.cli.main import main
from adapters_xitt.cli.render import plan as render_plan
from adapters_xitt.model import pretrained

RECIPE = """encoder: {encoder}
data: {root}
methods: [{{name: seq_bn, reduction: 4, learning_rate: 1e-2}}, {{name: lora, learning_rate: 1e-2}}]
intermediates: [demo-nli]
targets: [demo-pairs, demo-retrieval]
modes: [none, sequential, stack, sum]
languages: [en, de]
seeds: [1, 2]
lengths: {{max_length: 40}}
training: {{batch_size: 8, max_steps: 6, selection_examples: 6}}
"""


def xitt(*words: object, status: int = 0) -> str:
    """What a command prints; its exit status is checked."""
    done = CliRunner().invoke(main, list(map(str, words)))
    assert done.exit_code == status, done.output
    return done.output


@pytest.fixture
def recipe(tmp_path: Path, pico_dir: Path, pico_world: Path) -> Path:
    path = tmp_path / "grid.yaml"
    path.write_text(RECIPE.format(encoder=pico_dir, root=pico_world))
    return path


@pytest.fixture
def bare(tmp_path: Path, pico_dir: Path) -> Path:
    """The encoder without its weights."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(pico_dir / name, folder)
    return folder


def test_a_plan_needs_no_weights_and_says_so(
    recipe: Path, bare: Path, tmp_path: Path, pico_files
) -> None:
    whole = xitt("plan", recipe, "--store", tmp_path / "a").splitlines()
    without = xitt("plan", recipe, f"encoder={bare}", "--store", tmp_path / "b").splitlines()
    assert sum("Planned without the encoder's weights" in line for line in without) == 1
    assert "Planned without" not in "".join(whole)
    assert without[0].split(";")[0] == whole[0].split(";")[0], "the same totals"
    assert without[-12:] == whole[-12:], "the same tables"
    assert pretrained.inspect(str(bare), weights=False).parameters == pico_files.parameters
    told = xitt("run", recipe, f"encoder={bare}", "--store", tmp_path / "b", status=2)
    assert "no model.safetensors" in told


def test_problems_of_every_stage_are_told_at_once(
    recipe: Path, pico_world: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(pico_world, tmp_path / "data")
    (root / "demo-pairs" / "test-de.tsv").unlink()
    recipe.write_text(
        recipe.read_text().replace(str(pico_world), str(root)) + "lr: 1\nmodes: [none]\n"
    )
    told = xitt(
        "plan",
        recipe,
        "encoder=nowhere",
        "training.lr=1e-3",
        "targets=[demo-pairs, demo-pears]",
        "embeddings=host",
        "methods=[full, {name: lora, lr: 1e-3}]",
        "--store",
        tmp_path / "s",
        status=2,
    )
    for part in (
        "line 11: unknown key 'lr'",
        "Did you mean 'training.learning_rate'?",
        "the key modes is written more than once, on lines 6, 12",
        "unknown key in training 'lr'. Did you mean 'learning_rate'?",
        "method lora: unknown option 'lr'. Did you mean 'learning_rate'?",
        "unknown target 'demo-pears'. Did you mean 'demo-pairs'?",
        "encoder 'nowhere': no such folder",
        "embeddings: full fine-tuning trains the word table",
        "test-de.tsv: no such file",
    ):
        assert part in told, (part, told)
    assert "8 problems" in told
    assert not (tmp_path / "s").exists()


def test_a_fact_is_a_line_whatever_the_languages(
    recipe: Path, pico_world: Path, tmp_path: Path
) -> None:
    root = shutil.copytree(pico_world, tmp_path / "data")
    for language in ("en", "de"):
        path = root / "demo-pairs" / f"test-{language}.tsv"
        path.write_text(
            "\n".join("\t".join(line.split("\t")[:2]) for line in path.read_text().splitlines())
        )
    told = xitt("plan", recipe, f"data={root}", "--store", tmp_path / "s", status=2)
    assert "1 problem\n" in told and "test-en.tsv:1: expected 3 tab-separated columns" in told
    assert "[the same in de]" in told and "labels=None" not in told, "no advice to write Python"
    told = xitt(
        "plan", recipe, f"data.root={tmp_path / 'none'}", "--store", tmp_path / "s", status=2
    )
    assert "1 problem\n" in told and f"{tmp_path / 'none'}: no such folder" in told


@pytest.mark.parametrize("width", [80, 120])
def test_the_summary_comes_first_and_fits(
    width: int, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(render_plan, "console", lambda: Console(width=width, markup=False))
    lines = xitt("plan", recipe, "--store", tmp_path / "s").splitlines()
    assert lines[0].startswith("To do: ")
    assert all(len(line) <= width for line in lines) and not any("…" in line for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "low-rank updates do not stack" in text and "(lora stack)" in text, (
        "what is left out, with its reason"
    )
    assert len(lines) < 40 and "[/" not in text
    every = xitt("plan", recipe, "--details", "--store", tmp_path / "s")
    assert every.count("demo-nli →") == 8 and "demo-nli →" not in text, (
        "a line each of two methods, modes and seeds"
    )


def test_the_device_is_checked_before_anything_is_read(tmp_path: Path) -> None:
    import torch

    device = "mps" if not torch.backends.mps.is_available() else "cuda"
    for words in (
        ("run", tmp_path / "none.yaml"),
        ("train", "nothing"),
        ("evaluate", "none", "nothing"),
    ):
        assert f"device '{device}'" in xitt(
            *words, "--device", device, "--store", tmp_path / "s", status=2
        )
