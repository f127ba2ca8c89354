"""The comparison of training speeds reads the same batches, token for token, in every library's
loop."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "benchmark_training.py"


@pytest.fixture(scope="module")
def session():
    found = importlib.util.spec_from_file_location("benchmark_training", SCRIPT)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_every_contestant_reads_the_same_tokens(
    session, pico_dir, data_dir, tmp_path, monkeypatch
) -> None:
    monkeypatch.setenv("XITT_DATA", str(data_dir))
    folder = Path(shutil.copytree(pico_dir, tmp_path / "encoder"))
    steps = session.WARM + 1
    session.write_batches(folder, steps)
    ran = {
        name: session.contest(name, folder, 1, "cpu")
        for name in (
            "xitt seq_bn",
            "AdapterTrainer seq_bn",
            "xitt lora, no dropout",
            "Trainer + peft lora",
            "Trainer full",
        )
    }
    assert len({(one["digest"], one["tokens"]) for one in ran.values()}) == 1
    assert all(one["rate"] > 0 and 0 <= one["padding"] < 0.2 for one in ran.values())
    assert set(session.CONTESTANTS) >= {peer for *_, peer in session.CONTESTANTS.values()}
