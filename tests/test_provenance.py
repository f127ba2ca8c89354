"""A small run, looked at: what made its results, what the report says of that, and what looking
costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from adapters_xitt.cli.main import main
from adapters_xitt.study import results as records
from adapters_xitt.study.store import Store

RECIPE = """name: small
encoder: {encoder}
data: {{root: {root}}}
methods: [{{name: seq_bn, reduction: 4}}]
intermediates: []
targets: [demo-pairs, demo-retrieval]
modes: [none]
lengths: {{max_length: 40}}
training: {{batch_size: 8, max_steps: 1, selection_examples: 4}}
"""


def xitt(*words: object) -> str:
    result = CliRunner().invoke(main, [str(word) for word in words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output[-2000:]
    return result.output


@pytest.fixture
def run(tmp_path, pico_dir, pico_world):
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE.format(encoder=pico_dir, root=pico_world), encoding="utf-8")
    return lambda *more: xitt(
        "run", recipe, "--store", tmp_path / "store", "--device", "cpu", *more
    )


def grid(folder: Path) -> dict:
    return json.loads(
        (folder / "store" / "runs" / "small" / "grid.json").read_text(encoding="utf-8")
    )


def test_results_and_manifests_say_what_decided_their_bits(run, tmp_path) -> None:
    threads = torch.get_num_threads()
    try:
        run("languages=[de]", "--threads", 2)
    finally:
        torch.set_num_threads(threads)
    store = Store(tmp_path / "store")
    machine = {
        "device": "cpu",
        "threads": 2,
        "kernels": torch.backends.cpu.get_cpu_capability(),
        "deterministic": False,
    }
    results, manifests = store.results(), store.manifests()
    assert len(results) == 2 and len(manifests) == 1
    for result in results:
        assert {name: result.provenance[name] for name in machine} == machine
        assert (
            result.provenance["versions"] == records.versions() and result.provenance["tokens"] > 0
        )
    assert manifests[0].training["machine"] == machine


def test_the_report_names_the_versions_that_made_its_cells(run, tmp_path, monkeypatch) -> None:
    """Half of a grid by versions of long ago, half by those of now; then the first half again."""
    old = {**records.versions(), "torch": "0.0.7"}
    with monkeypatch.context() as ago:
        ago.setattr(records, "_versions", lambda: old)
        printed = run("languages=[de]")
    assert "torch 0.0.7" in printed and "Versions" not in printed
    assert f"torch {records.version('torch')}" not in printed
    printed = run("languages=[de, fi]")
    sets = grid(tmp_path)["made_with"]
    assert [(made["versions"]["torch"], made["cells"], made["modules"]) for made in sets] == [
        ("0.0.7", 2, 1),
        (records.version("torch"), 2, 0),
    ]
    assert "2 different sets of versions" in printed and "--fresh-versions" in printed
    printed = run("languages=[de, fi]", "--fresh-versions")
    assert "2 of 4 cells were scored by other versions and are scored again" in printed
    found = {
        result.provenance["versions"]["torch"] for result in Store(tmp_path / "store").results()
    }
    assert found == {records.version("torch")}
    vectors = list((tmp_path / "store" / "embeddings").glob("*.safetensors"))
    assert len(vectors) == 3, "kept sentence vectors of other versions are not those of these"
    assert [(made["cells"], made["modules"]) for made in grid(tmp_path)["made_with"]] == [
        (4, 0),
        (0, 1),
    ]
    assert "0 of 4 cells" in run("languages=[de, fi]", "--fresh-versions")


LOOK = """
import json, sys
from adapters_xitt.cli import main
heavy, loaded = ("torch", "transformers", "evaluate", "datasets", "adapters", "peft"), {}
for words in json.loads(sys.argv[1]):
    try:
        main(words, standalone_mode=False)
    except SystemExit:
        pass
    loaded[" ".join(words[:2])] = [name for name in heavy if name in sys.modules]
print("\\n" + json.dumps(loaded))
"""


def test_tables_of_what_is_there_load_no_torch(run, tmp_path) -> None:
    run("languages=[de]")
    store = str(tmp_path / "store")
    (key,) = (manifest.key for manifest in Store(tmp_path / "store").manifests())
    commands = [
        ["--help"],
        ["tasks"],
        ["tasks", "xnli"],
        ["show", "--store", store],
        ["show", "--results", "--store", store],
        ["show", key[:12], "--store", store],
        ["report", "small", "--store", store],
    ]
    ran = subprocess.run(
        [sys.executable, "-c", LOOK, json.dumps(commands)],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(ran.stdout.splitlines()[-1])
    assert len(loaded) == len(commands) and not any(loaded.values()), loaded
    for shown in ("demo-pairs", key[:12], "modules in", "results in", "majority class"):
        assert shown in ran.stdout
