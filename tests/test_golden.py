"""Numbers and keys of a small grid, as they were: numbers change only with `digests.PROTOCOL`, keys
only with it.

Everything read lies in `tests/golden/`, so that no other file decides a number here. When
`PROTOCOL` was raised, this writes `tests/golden/grid.json` again:

    python tests/test_golden.py

A change that alters numbers raises `PROTOCOL` in the same commit. A new task, option or mode leaves
every line of that file as it is: it enters a key only where it differs from its default."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from adapters_xitt import hashing
from adapters_xitt.api import common

GOLDEN = Path(__file__).parent / "golden"
GRID = GOLDEN / "grid.json"
SHORT = 16  # hex digits of a key that are kept: enough to tell any two apart
# SSE4 in AVX-512's place and two threads in one's change losses and probabilities by 1e-6 and no
# score.
TOLERANCE = 1e-4


def write_encoder(folder: Path) -> Path:
    """The pico encoder with weights from whole numbers alone: their bits, and its fingerprint, are
    every machine's."""
    import pico

    pico.write(folder)
    (folder / "tokenizer.json").write_bytes((GOLDEN / "encoder" / "tokenizer.json").read_bytes())
    draw = np.random.Generator(np.random.PCG64(7))
    shapes = {
        name: tensor.shape for name, tensor in load_file(folder / "model.safetensors").items()
    }
    tensors = {}
    for name in sorted(shapes):
        whole = draw.integers(-1024, 1024, endpoint=True, size=shapes[name])
        scale = 1.0 if name.endswith("LayerNorm.weight") else 0.0
        tensors[name] = (scale + whole / 4096).astype(np.float32)  # uniform up to ±0.25
    save_file(tensors, folder / "model.safetensors")
    return folder


def open_recipe(name: str, folder: Path) -> common.Work:
    """A recipe of `tests/golden/`, planned."""
    encoder = folder / "encoder"
    if not encoder.is_dir():
        write_encoder(encoder)
    return common.open_recipe(
        GOLDEN / f"{name}.yaml",
        [f"encoder={encoder}", f"data.root={GOLDEN / 'data'}"],
        folder / f"store-{name}",
    )


def keys_of(work: common.Work) -> dict[str, str]:
    """Short keys of a plan, each with what people call it."""
    modules = {key[:SHORT]: job.title for key, job in work.plan.train.items()}
    cells = {
        entry.key[:SHORT]: " | ".join(
            (
                entry.method,
                entry.intermediate,
                entry.mode,
                entry.target,
                entry.language,
                str(entry.seed),
            )
        )
        for entry in work.plan.entries
        if entry.key
    }
    return {**modules, **cells}


def numbers_of(work: common.Work) -> dict[str, dict[str, float]]:
    """Runs a plan; the numbers of its modules and cells by short key."""
    common.run_work(work, device="cpu", threads=1, log="none", keep_every=1000.0)
    found = {}
    for manifest in work.store.manifests():
        history = manifest.metrics.get("history") or [{"loss": 0.0}]
        found[manifest.key[:SHORT]] = {
            "loss": history[-1]["loss"],
            "selected": manifest.metrics["score"] or 0.0,
        }
    for result in work.store.results():
        arrays = load_file(
            work.store.root / "results" / result.cell.key / "predictions.safetensors"
        )
        soft = [array for array in arrays.values() if array.dtype.kind == "f"]
        found[result.cell.key[:SHORT]] = {
            **result.scores,
            "soft": float(np.mean([np.square(array, dtype=np.float64).mean() for array in soft])),
        }
    return found


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    return json.loads(GRID.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def plans(tmp_path_factory) -> dict[str, common.Work]:
    folder = tmp_path_factory.mktemp("golden")
    return {name: open_recipe(name, folder) for name in ("numbers", "keys")}


def test_the_protocol_is_that_of_the_golden_grid(golden) -> None:
    assert hashing.PROTOCOL == golden["protocol"], (
        "PROTOCOL was raised: python tests/test_golden.py"
    )


def test_a_request_that_could_be_made_before_keeps_its_key(golden, plans) -> None:
    for name, held in golden["keys"].items():
        now = keys_of(plans[name])
        lost = [f"{title} ({key})" for key, title in held.items() if key not in now]
        assert not lost, (
            f"{len(lost)} of {len(held)} keys of {name}.yaml changed, PROTOCOL didn't: {lost[:5]}"
        )


def test_no_number_changes_while_the_protocol_stays(golden, plans) -> None:
    now, titles = numbers_of(plans["numbers"]), golden["keys"]["numbers"]
    assert set(golden["numbers"]) <= set(now)
    changed = [
        f"{titles[key]}: {name} {value} → {now[key].get(name)}"
        for key, values in golden["numbers"].items()
        for name, value in values.items()
        if now[key].get(name) != pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE)
    ]
    assert not changed, f"{len(changed)} numbers changed and PROTOCOL didn't: {changed[:8]}"


def main(folder: Path) -> None:
    """Writes the golden grid."""
    plans = {name: open_recipe(name, folder) for name in ("numbers", "keys")}
    keys = {name: keys_of(work) for name, work in plans.items()}
    numbers = {
        key: {name: round(value, 6) for name, value in values.items()}
        for key, values in numbers_of(plans["numbers"]).items()
    }
    found = {"protocol": hashing.PROTOCOL, "keys": keys, "numbers": numbers}
    GRID.write_text(
        json.dumps(found, indent=0, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    import tempfile

    sys.path.insert(0, str(GOLDEN.parent))
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
