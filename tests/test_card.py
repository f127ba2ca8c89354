"""The card of a module: its header parses, its text is safe, its snippets run with each library
alone."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import pytest
from hub_shop import ModelHub
from markdown_it import MarkdownIt

from adapters_xitt.errors import XittError
from adapters_xitt.hub import Reference
from adapters_xitt.modules.manifest import Manifest
from adapters_xitt.sharing import card
from adapters_xitt.sharing.card import Card, Form
from adapters_xitt.study import results
from adapters_xitt.study.results import Cell, Result

KEY, BELOW, DATA = "ab" * 32, "cd" * 32, "ef" * 32
BASE = Reference("lab/pico", "0" * 40)


def manifest(**more: object) -> Manifest:
    return Manifest(
        **{
            "key": KEY,
            "digest": "12" * 32,
            "encoder": "34" * 32,
            "encoder_name": "/home/ana/secret/pico",
            "method": {"name": "seq_bn", "reduction": 4, "dropout": 0.0, "leave_out": []},
            "trained_on": "xnli",
            "mixture": {
                "portions": [{"task": "xnli", "languages": ["en"], "variant": "", "examples": 300}]
            },
            "heads": {
                "pair3": {"kind": "pair", "labels": ["contradiction", "entailment", "neutral"]}
            },
            "languages": ["en"],
            "seed": 1,
            "context": f"{BELOW} > {KEY}",
            "role": "xnli above mnli, seq_bn, seed 1",
            "exposure": [
                {"task": "xnli", "language": "en", "role": "trained", "data": DATA},
                {"task": "xnli", "language": "en", "role": "selected", "data": DATA},
            ],
            "metrics": {
                "score": 35.1,
                "step": 3,
                "steps": 6,
                "headline": "accuracy",
                "history": [],
            },
            "training": {
                "learning_rate": 1e-4,
                "batch_size": 16,
                "epochs": 3,
                "max_steps": None,
                "precision": "32",
            },
            "versions": results.versions(),
            "chance": 33.3,
            **more,
        }
    )


def result(
    value: float, *, seed: int = 1, task: str = "xnli", language: str = "de", tag: str = "zero-shot"
) -> Result:
    cell = Cell(
        encoder="34" * 32,
        composition=f"{BELOW} > {KEY}" if seed == 1 else f"other {seed}",
        task=task,
        language=language,
        split="test",
        data=DATA,
        lengths={"max_length": 128},
        seed=seed,
        precision="32",
        convention="plain",
    )
    return Result(
        cell=cell,
        status="done",
        scores={"accuracy": value, "other": 1.0},
        headline="accuracy",
        examples=450,
        tag=tag,
    )


FULL = Card(
    repo="ana/m",
    manifest=manifest(),
    base=BASE,
    licence="mit",
    parts={BELOW: manifest(key=BELOW, context=BELOW, role="mnli, seq_bn")},
    forms=(Form(engine="adapters", below=(f"parts/{BELOW}/adapters",)),),
    results=[
        result(34.123456789, seed=seed) if seed == 1 else result(30.0 + seed, seed=seed)
        for seed in (1, 2, 3)
    ]
    + [result(41.0, language="sw")],
    beside={"none": [result(33.0, seed=1), result(35.0, seed=2)]},
)


def html(text: str) -> str:
    """As a hub shows it: CommonMark with tables, what HTML there is passed through."""
    return (
        MarkdownIt("commonmark", {"html": True})
        .enable("table")
        .render(text.partition("\n---\n")[2])
    )


# -- what it says


def test_the_header_parses_back_with_the_results_as_they_are() -> None:
    from huggingface_hub import ModelCard

    data = ModelCard(card.write(FULL)).data
    assert (data.base_model, data["base_model_relation"], data["library_name"]) == (
        "lab/pico",
        "adapter",
        "adapters",
    )
    assert (
        data.language == ["en"]
        and data.license == "mit"
        and data.pipeline_tag == "text-classification"
    )
    assert (
        "adapter-transformers" in data.tags
        and card.TAG in data.tags
        and data.datasets == ["facebook/xnli"]
    )
    german, swahili = data.eval_results
    assert (german.metric_value, german.metric_config, german.dataset_split) == (
        34.123456789,
        "plain",
        "test",
    )
    assert german.metric_args["mean"] == pytest.approx(mean([34.123456789, 32.0, 33.0]))
    assert german.metric_args["spread"] == pytest.approx(stdev([34.123456789, 32.0, 33.0]))
    assert (german.metric_args["seeds"], german.metric_args["seed"]) == (3, 1)
    assert (
        swahili.metric_value == 41.0
        and swahili.dataset_config == "xnli.sw"
        and "mean" not in swahili.metric_args
    )


def test_two_tasks_of_one_repository_stay_two() -> None:
    from huggingface_hub import ModelCard

    both = replace(FULL, results=[result(50.0, task="udpos"), result(40.0, task="panx")])
    assert [
        (one.dataset_config, one.metric_value)
        for one in ModelCard(card.write(both)).data.eval_results
    ] == [("udpos.de", 50.0), ("panx.de", 40.0)]


def test_a_seed_counts_once() -> None:
    """The module's own cell read in another way is no second seed, nor is its own cell given
    twice."""
    one = result(34.0)
    shorter = replace(
        one,
        cell=replace(one.cell, lengths={"max_length": 24}),
        scores={"accuracy": 20.0, "other": 1.0},
    )
    assert {len(seeds) for _, seeds in card.scores(replace(FULL, results=[one, shorter, one]))} == {
        1
    }
    ((own, seeds),) = card.scores(replace(FULL, results=[one, one, result(36.0, seed=2)]))
    assert own == one and sorted(seeds) == [34.0, 36.0]


def test_the_text_says_the_numbers_the_parts_and_what_it_has_seen() -> None:
    text = card.write(FULL)
    row = next(line for line in text.splitlines() if "German (de)" in line)
    assert "| 34.1 | 33.0 ± 1.1 (3) | 34.0 ± 1.4 (2) | 450 | `zero-shot` |" in row
    assert "means what it says only there" in text and f"| `{BELOW[:12]}` |" in text
    assert "trained on `xnli` in English (en) (rows `efefefefefef`)" in text
    assert "the weights are those after step 3" in text and "did not beat chance" not in text
    assert "secret" not in text, "where an encoder lay is nobody's business"
    weak = card.write(replace(FULL, manifest=manifest(chance=35.1)))
    assert "**It did not beat chance** (35.1)" in weak


def test_unknown_exposure_is_said() -> None:
    taken = manifest(
        exposure=[{"task": "", "language": "", "role": "unknown", "data": ""}], source="adapters"
    )
    text = card.write(replace(FULL, manifest=taken, results=[result(30.0, tag="zero-shot*")]))
    assert (
        "**unknown**: nobody knows what" in text
        and "`zero-shot*`" in text
        and "taken in from" in text
    )


def test_a_card_without_results_base_or_forms() -> None:
    from huggingface_hub import ModelCard

    bare = Card(repo="ana/m", manifest=manifest(context=KEY))
    text = card.write(bare)
    assert (
        "None are stated." in text and "It stands alone" in text and "xitt pull hub:ana/m" in text
    )
    assert ModelCard(text).data.base_model is None


# -- values are data

NASTY = (
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "![x](http://evil/p.png)",
    "a | b | c",
    "`` ` ``",
    "x\n---\nbase_model: evil/x\n---\n# Owned",
    "# Owned",
    "\n\n<img src=x onerror=y>\n\n",
    "\x1b[2J\u202eevil",
    "```\n```python\nimport os",
    "&lt;b&gt;",
    "\\",
    "\\|",
    "---",
    "{{ x }}",
    "*b* _i_",
    "- x",
    "`",
    "'''\"\"\"",
    "!!python/object/apply:os.system ['x']",
)


@pytest.mark.parametrize("nasty", NASTY)
def test_a_downloaded_manifest_marks_nothing_up(nasty: str) -> None:
    from huggingface_hub import ModelCard

    everywhere = manifest(
        method={"name": nasty, nasty: nasty},
        trained_on=nasty,
        encoder_name=nasty,
        encoder=nasty,
        digest=nasty,
        mixture={
            "portions": [{"task": nasty, "languages": [nasty], "variant": nasty, "examples": nasty}]
        },
        heads={nasty: {"kind": nasty, "labels": [nasty]}},
        languages=[nasty, "de"],
        seed=nasty,
        context=nasty,
        role=nasty,
        exposure=[
            {"task": nasty, "language": nasty, "role": role, "data": nasty}
            for role in ("trained", "unknown", nasty)
        ],
        metrics={"score": nasty, "step": nasty, "steps": nasty, "headline": nasty},
        merge={nasty: nasty},
        source=nasty,
        training={"learning_rate": nasty, "precision": nasty},
        versions={nasty: nasty},
        chance=nasty,
    )
    own = result(30.0)
    nasty_result = replace(
        own,
        headline=nasty,
        scores={nasty: 30.0},
        tag=nasty,
        cell=replace(
            own.cell,
            composition=nasty,
            task=nasty,
            language=nasty,
            split=nasty,
            convention=nasty,
            seed=nasty,
            data=nasty,
        ),
    )
    found = Card(
        repo="ana/m",
        manifest=everywhere,
        parts={nasty: everywhere},
        results=[nasty_result],
        licence=nasty,
        base=BASE,
    )
    text, plain = (
        card.write(found),
        card.write(replace(FULL, forms=(), beside=None, results=FULL.results[:1])),
    )
    tokens = (
        MarkdownIt("commonmark", {"html": True}).enable("table").parse(text.partition("\n---\n")[2])
    )
    kinds = {one.type for token in tokens for one in [token, *(token.children or [])]}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "hr"}
    titles = re.compile(r"<h\d>.*?</h\d>")
    assert titles.findall(html(text)) == titles.findall(html(plain))
    assert "\x1b" not in text and "\u202e" not in text
    data = ModelCard(text).data
    assert data.base_model == "lab/pico" and data.language == ["de"] and data.license is None
    assert (
        data.tags == [card.TAG, "cross-lingual-transfer", "xlm-roberta"] and data.datasets is None
    )
    lines = [line for line in text.splitlines() if line.startswith("|")]
    bars = [len(re.findall(r"(?<!\\)\|", line)) for line in lines]
    assert set(bars) == {3, 4, 7} and bars == sorted(bars), "no value ends a cell"


def test_a_folder_in_a_snippet_is_a_folder() -> None:
    with pytest.raises(XittError, match="a snippet that people run"):
        Form(engine="peft", folder='x"); import os; ("')


# -- the snippets, as they stand


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    found = ModelHub()
    yield found
    found.close()


def served(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def library_made(pico_dir: Path, folder: Path, *, library: str) -> dict[str, list[float]]:
    """Two modules that the library alone makes and saves, "below" and the module itself, and what
    both together say of some tokens."""
    import torch

    torch.manual_seed(3)
    ids = torch.tensor([[0, 5, 9, 7, 2]])
    if library == "adapters":
        from adapters import AutoAdapterModel
        from adapters.composition import Stack

        model = AutoAdapterModel.from_pretrained(pico_dir)
        for name in ("below", "own"):
            model.add_adapter(name, config="seq_bn")
        for name, parameter in model.named_parameters():
            if "adapters" in name:
                parameter.data.normal_(std=0.3)
        (folder / "parts" / BELOW).mkdir(parents=True)  # the library makes the last folder only
        model.save_adapter(
            folder / "parts" / BELOW / "adapters", "below", with_head=False, use_safetensors=True
        )
        model.save_adapter(folder, "own", with_head=False, use_safetensors=True)
        single, both = "own", Stack("below", "own")
        say = [
            (model.set_active_adapters(one), model.eval()(ids).last_hidden_state)[1]
            for one in (single, both)
        ]
    else:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModel

        plain = AutoModel.from_pretrained(pico_dir, add_pooling_layer=False)
        model = get_peft_model(
            plain,
            LoraConfig(r=4, target_modules=["query", "value"], init_lora_weights=False),
            adapter_name="own",
        )
        model.add_adapter(
            "below", LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False)
        )
        model.save_pretrained(folder / "tmp")
        (folder / "tmp" / "own").rename(folder / "own")
        (folder / "parts" / BELOW).mkdir(parents=True)
        (folder / "tmp" / "below").rename(folder / "parts" / BELOW / "peft")
        for path in (folder / "own").iterdir():
            path.rename(folder / path.name)
        say = [
            (model.base_model.set_adapter(one), model.eval()(input_ids=ids).last_hidden_state)[1]
            for one in ("own", ["own", "below"])
        ]
    return {
        name: values.flatten().tolist() for name, values in zip(("alone", "both"), say, strict=True)
    }


@pytest.mark.parametrize("together", ["alone", "both"])
@pytest.mark.parametrize("library", ["adapters", "peft"])
def test_a_snippet_loads_what_the_library_made(
    hub, tmp_path, pico_dir, library: str, together: str
) -> None:
    said = library_made(pico_dir, tmp_path / "m", library=library)[together]
    base = Reference("lab/pico", hub.add("lab/pico", served(pico_dir)))
    below = (f"parts/{BELOW}/{library}",) if together == "both" else ()
    text = card.write(replace(FULL, base=base, forms=(Form(engine=library, below=below),)))
    hub.add(
        "ana/m",
        {
            **{
                path: body
                for path, body in served(tmp_path / "m").items()
                if not path.endswith(".md")
            },
            "README.md": text.encode(),
        },
    )
    snippet = re.search(r"```python\n(.*?)```", text, flags=re.S)[1]
    ask = (
        "\nimport torch, json\nfound = model.eval()(input_ids=torch.tensor([[0, 5, 9, 7, 2]]))\n"
        "print(json.dumps(found.last_hidden_state.flatten().tolist()))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", snippet + ask],
        capture_output=True,
        text=True,
        timeout=300,
        env=hub.environment(tmp_path / "home"),
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert json.loads(ran.stdout.splitlines()[-1]) == pytest.approx(said, abs=1e-5)


def test_labels_stand_in_a_snippet_only_where_they_cannot_leave_it() -> None:
    """What a head's outputs mean is a comment of code that people run: a label of other signs is
    left out."""
    base = Reference("lab/pico", "0" * 40)
    for labels, shown in (
        (("yes", "no"), True),
        (("yes", "no\nimport os"), False),
        (("a```", "b"), False),
    ):
        for engine in ("adapters", "peft"):
            text = card.write(
                replace(FULL, base=base, forms=(Form(engine=engine, head="pair", labels=labels),))
            )
            snippet = re.search(r"```python\n(.*?)```", text, flags=re.S)[1]
            assert ("in this order: yes, no" in snippet) == shown
            assert "import os" not in snippet and "gives its head's logits" in snippet
            assert (engine == "peft") == ("num_labels=2" in snippet)
            compile(snippet, "snippet", "exec")
