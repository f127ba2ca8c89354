"""The store: whole files or none, locks that die with their holder, names, and what comes back
out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import numpy as np
import pytest
import torch

from adapters_xitt import atomic
from adapters_xitt.data import mixture
from adapters_xitt.data.exposure import DataSet
from adapters_xitt.errors import XittError
from adapters_xitt.hashing import digest, tensors_digest
from adapters_xitt.modules import serialization
from adapters_xitt.modules.manifest import Manifest, Module
from adapters_xitt.modules.methods import choose
from adapters_xitt.study import results, store
from adapters_xitt.study.results import Cell, Result
from adapters_xitt.study.store import Store

KEY, OTHER = digest("one"), digest("other")
CELL = Cell(
    encoder=digest("encoder"),
    composition=f"{KEY} > {OTHER}",
    task="xnli",
    language="sw",
    split="test[:50%]",
    data=digest("rows"),
    lengths={"max_length": 128, "stride": 0, "question": 64},
    seed=3,
    precision="32-true",
    convention="accuracy",
)
RESULT = Result(
    cell=CELL,
    status=results.DONE,
    scores={"accuracy": 0.1 + 0.2, "tiny": 5e-324, "third": 1 / 3},
    headline="accuracy",
    examples=7,
    skipped={"no agreed label": 2},
    tag="zero-shot",
    overlap=1 / 7,
    reason="",
    predictions=digest("said"),
    provenance={"versions": {"torch": "2"}, "seconds": [0.1, None]},
)
ITEMS = [
    {"id": "xnli/test/0", "said": "neutral — 中文 ‏ و\u2028"},
    {"id": "xnli/test/1", "said": None},
]
ARRAYS = {
    "probabilities": np.arange(12, dtype=np.float32).reshape(3, 4).T,
    "start": np.array([3, -1], dtype=np.int64),
}


def module(key: str = KEY) -> Module:
    tensors = {
        "encoder.a": torch.randn(3, 4).T,
        "encoder.b": torch.tensor(2.0),
        "head.pair2_24cee6.out.bias": torch.zeros(2),
    }
    return Module(
        Manifest(
            key=key,
            digest=tensors_digest(tensors),
            encoder=digest("encoder"),
            encoder_name="pico",
            method=choose("lora", {}).record(),
            trained_on="xnli",
            mixture=mixture.single("xnli").record(),
            heads={"pair2_24cee6": {"kind": "pair", "labels": ["a", "ß"]}},
            languages=["en"],
            seed=1,
            context=key,
            role="xnli",
            exposure=[
                {"task": "xnli", "language": "en", "role": "trained", "data": digest("rows")}
            ],
            metrics={"score": 0.5, "headline": "accuracy"},
            training={"learning_rate": 1e-4, "start": None, "below": [], "carry_pooler": False},
            versions=results.versions(),
        ),
        tensors,
    )


def left(root: Path) -> set[str]:
    """Every file and folder below the store, by its path."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


# -- whole files, or none

SAVES: dict[str, tuple[Callable[[Store], Any], str]] = {  # what is saved, and the final name
    "module": (lambda found: found.save_module(module()), f"modules/{KEY}"),
    "result": (lambda found: found.save_result(RESULT, ITEMS, ARRAYS), f"results/{CELL.key}"),
    "progress": (
        lambda found: found.save(KEY, {"now": torch.ones(3)}, {"step": 1}),
        f"progress/{KEY}.safetensors",
    ),
    "name": (lambda found: found.give_name("xnli-lora", KEY), "names/xnli-lora.json"),
    "data set": (
        lambda found: found.save_data_set(
            DataSet("xnli", "en", "dev", OTHER, frozenset("a"), frozenset("b"))
        ),
        f"data/{OTHER}.json",
    ),
}


class Broken(Exception):
    """The disk is full here."""


@pytest.mark.parametrize("place", ["_sync", "replace", "the second sync"])
@pytest.mark.parametrize("name", SAVES)
def test_a_save_that_fails_leaves_nothing(monkeypatch, tmp_path, name, place):
    save, final = SAVES[name]
    calls = 0

    def fail(*words: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == (2 if place == "the second sync" else 1):
            raise Broken

    monkeypatch.setattr(*((os, "replace") if place == "replace" else (atomic, "_sync")), fail)
    with pytest.raises(Broken):
        save(Store(tmp_path))
    monkeypatch.undo()
    # of a file, the second comes after the rename
    if place != "the second sync" or name in ("module", "result"):
        assert left(tmp_path) == {final.split("/")[0]}
    save(Store(tmp_path))
    assert (tmp_path / final).exists()


def test_a_block_that_raises_leaves_what_was_there(tmp_path):
    found = Store(tmp_path)
    found.save(KEY, {"now": torch.ones(3)}, {"step": 1})
    found.save_result(RESULT, ITEMS, ARRAYS)
    before = left(tmp_path)
    with pytest.raises(TypeError):
        found.save(KEY, {"now": torch.zeros(3)}, {"step": object()})
    with pytest.raises(TypeError):
        found.save_result(RESULT, [{"id": object()}], ARRAYS)
    with pytest.raises(ValueError):
        found.write_json(tmp_path / "names" / "x.json", {"key": float("nan")})
    with pytest.raises(Broken), found.whole_folder(tmp_path / "runs" / "grid") as work:
        (work / "half").write_text("x")
        raise Broken
    with pytest.raises(Broken), found.whole_file(tmp_path / "runs" / "file") as work:
        work.write_text("x")
        raise Broken
    assert left(tmp_path) - {"names", "runs"} == before
    assert found.load(KEY)[1] == {"step": 1} and found.load_result(CELL.key) == RESULT


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
import test_store as own
from adapters_xitt import atomic
from adapters_xitt.modules import serialization
from adapters_xitt.study import store
name, place, root = sys.argv[1:4]
save, _ = own.SAVES[name]
def die(*words):
    os._exit(9)
if place == "renaming":
    os.replace = die
elif place == "syncing":
    atomic._sync = die
else:  # half a file is written
    serialization.write_module = lambda module, folder: (
        (folder / "module.safetensors").write_bytes(b"half"), die())
    from adapters_xitt import integrity
    integrity.write_tensors = lambda path, tensors, metadata: (path.write_bytes(b"half"), die())
    Path.write_text = lambda path, text, **rest: (path.write_bytes(b"half"), die())
save(store.Store(Path(root)))
"""


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("module", "writing"),
        ("result", "writing"),
        ("progress", "writing"),
        ("name", "writing"),
        ("module", "syncing"),
        ("result", "renaming"),
        ("progress", "renaming"),
    ],
)
def test_a_killed_writer_leaves_no_final_name(tmp_path, name, place):
    save, final = SAVES[name]
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, name, place, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 9, ran.stderr[-2000:]
    found = Store(tmp_path)
    assert not (tmp_path / final).exists()
    assert all(path.name.startswith(".") for path in (tmp_path / final).parent.iterdir())
    # what it left is nothing to any reader
    assert (found.manifests(), found.results(), found.names(), found.load(KEY)) == (
        [],
        [],
        {},
        None,
    )
    assert not found.has_module(KEY) and not found.has_result(CELL.key)
    with pytest.raises(XittError, match="unknown module"):
        found.resolve(KEY)
    save(found)
    assert (tmp_path / final).exists()


def test_a_folder_that_is_saved_again_has_nothing_of_the_old_one(tmp_path):
    found = Store(tmp_path)
    for name in ("old", "new"):
        with found.whole_folder(tmp_path / "runs" / "grid") as work:
            (work / name).write_text(name)
    assert left(tmp_path) == {"runs", "runs/grid", "runs/grid/new"}
    assert (tmp_path / "runs/grid").stat().st_mode & 0o777 == 0o755
    found.give_name("a", KEY)
    assert (tmp_path / "names/a.json").stat().st_mode & 0o777 == 0o644


def _leftovers(root: Path) -> tuple[Path, Path]:
    """A folder and a file that were never finished, and finished ones beside them."""
    found = Store(root)
    found.save_module(module())
    found.give_name("a-b", KEY)
    folder, file = root / "modules" / f".{KEY[:16]}-abc", root / "names" / ".a-b.json-abc"
    folder.mkdir()
    (folder / "module.safetensors").write_bytes(b"half")
    file.write_bytes(b"half")
    return folder, file


def test_old_leftovers_are_swept_and_nothing_else(tmp_path):
    folder, file = _leftovers(tmp_path)
    before = left(tmp_path)
    Store(tmp_path).sweep()
    assert left(tmp_path) == before, "a living process may be writing these"
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    Store(tmp_path).sweep()
    gone = {path.relative_to(tmp_path) for path in (folder, file)}
    assert {Path(name) for name in before} - {Path(name) for name in left(tmp_path)} == {
        *gone,
        folder.relative_to(tmp_path) / "module.safetensors",
    }
    assert (
        Store(tmp_path).load_module(KEY).manifest.key == KEY
        and Store(tmp_path).resolve("a-b") == KEY
    )
    Store(tmp_path / "nowhere").sweep()


def test_a_leftover_that_is_finished_meanwhile_is_no_error(monkeypatch, tmp_path):
    folder, file = _leftovers(tmp_path)

    def finish() -> float:
        file.unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        return 1e12

    monkeypatch.setattr(store.time, "time", finish)
    Store(tmp_path).sweep()
    assert not folder.exists() and not file.exists()


# -- locks


def test_a_key_has_one_holder_among_threads(tmp_path):
    keys, threads = [digest(n) for n in range(5)], 8
    taken, start, end = [[] for _ in range(threads)], Barrier(threads), Barrier(threads)

    def work(n: int) -> None:
        start.wait()
        with Store(tmp_path).claim(keys) as held:
            taken[n] = held
            end.wait()  # nobody lets go before everybody has tried

    running = [Thread(target=work, args=(n,)) for n in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=30)
    assert sorted(key for held in taken for key in held) == sorted(keys)
    with Store(tmp_path).claim(keys) as held:
        assert held == keys


def test_a_claim_ends_with_its_block(tmp_path):
    found = Store(tmp_path)
    with found.claim([KEY]) as held, found.claim([OTHER, KEY]) as others:
        assert (held, others) == ([KEY], [OTHER])
    with pytest.raises(Broken), found.claim([KEY]) as held:
        raise Broken
    with found.claim([KEY, KEY]) as held:
        assert held == [KEY]
    with found.claim([]) as held:
        assert held == []


HOLDER = """
import sys, time
from pathlib import Path
from adapters_xitt.study.store import Store
with Store(Path(sys.argv[1])).claim(sys.argv[2:]) as held:
    print(*held, flush=True)
    time.sleep(600)
"""


def test_a_killed_holder_lets_go_at_once(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), KEY], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline().split() == [KEY]
        with Store(tmp_path).claim([KEY, OTHER]) as held:
            assert held == [OTHER]
        brief = HOLDER.replace("time.sleep(600)", "pass")
        ran = subprocess.run(
            [sys.executable, "-c", brief, str(tmp_path), KEY, OTHER],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (ran.returncode, ran.stdout.split()) == (0, [OTHER])
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=30)
        with Store(tmp_path).claim([KEY, OTHER]) as held:
            assert held == [KEY, OTHER]
    finally:
        holder.kill()
        holder.wait(timeout=30)
        holder.stdout.close()


# -- names


@pytest.mark.parametrize("name", ["a", "0", "xnli-lora", "x.y_z-1", "a" * 100])
def test_names_are_given(tmp_path, name):
    found = Store(tmp_path)
    found.give_name(name, KEY)
    assert found.names() == {name: KEY} and found.resolve(name) == KEY
    found.give_name(name, OTHER)
    assert found.resolve(name) == OTHER, "the last one given stands"


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".a", "-x", "_", "A", "a b", "a/b", "../a", "a\n", "ä", "a\0", "a\\b"]
)
def test_names_are_refused(tmp_path, name):
    with pytest.raises(XittError, match="a module's name is made of"):
        Store(tmp_path).give_name(name, KEY)
    assert not left(tmp_path)


def test_names_keys_and_their_beginnings_are_resolved(tmp_path):
    found = Store(tmp_path)
    keys = ["abcdef01" + "0" * 56, "abcdef02" + "0" * 56, "123456" + "0" * 58]
    for key in keys:
        (tmp_path / "modules" / key).mkdir(parents=True)
    found.give_name("xnli-lora", keys[0])
    found.give_name("123456", keys[1])
    assert [
        found.resolve(word) for word in ("xnli-lora", keys[0], "abcdef02", "1234560", "123456")
    ] == [keys[0], keys[0], keys[1], keys[2], keys[1]], "a name goes before a key's beginning"
    with pytest.raises(XittError, match="'abcdef' stands for 2 keys; give more digits"):
        found.resolve("abcdef")
    with pytest.raises(
        XittError, match=f"unknown module 'xnli-lroa'. Did you mean 'xnli-lora'.*Store: {tmp_path}"
    ):
        found.resolve("xnli-lroa")
    for word in ("abcde", "", "*", "../modules", "abcdef03"):  # too short, or no key begins so
        with pytest.raises(XittError, match="unknown module"):
            found.resolve(word)
    with pytest.raises(XittError, match=r"Choices: \(none\)"):
        Store(tmp_path / "empty").resolve("abcdef")


# -- what goes in comes out


def test_a_module_comes_back(tmp_path):
    found, made = Store(tmp_path), module()
    assert not found.has_module(KEY)
    found.save_module(made)
    back = found.load_module(KEY)
    assert found.has_module(KEY) and found.manifests() == [made.manifest] == [back.manifest]
    assert set(back.tensors) == set(made.tensors)
    assert all(torch.equal(back.tensors[name], value) for name, value in made.tensors.items())
    assert {path.name for path in found.module_folder(KEY).iterdir()} == {
        serialization.TENSORS,
        serialization.MANIFEST,
    }


@pytest.mark.parametrize(
    "result",
    [
        RESULT,
        Result(
            cell=CELL,
            status=results.BLOCKED,
            reason="test items reached the row: 3 in xnli@en train",
        ),
        Result(cell=replace(CELL, seed=None), status=results.FAILED, overlap=1e-17),
    ],
    ids=lambda result: result.status,
)
def test_a_result_comes_back(tmp_path, result):
    found = Store(tmp_path)
    assert not found.has_result(result.cell.key) and found.results() == []
    found.save_result(result, ITEMS, ARRAYS)
    back = found.load_result(result.cell.key)
    assert back == result and back.cell.key == result.cell.key
    assert found.results() == [result] and found.has_result(result.cell.key)
    folder = tmp_path / "results" / result.cell.key
    lines = (folder / "predictions.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in lines if line] == ITEMS and lines[-1] == ""
    from safetensors.numpy import load_file

    arrays = load_file(folder / "predictions.safetensors")
    assert set(arrays) == set(ARRAYS)
    for name, value in ARRAYS.items():
        assert arrays[name].dtype == value.dtype and np.array_equal(arrays[name], value)
    assert found.predictions_digest(ITEMS, ARRAYS) == found.predictions_digest(
        [json.loads(line) for line in lines if line], arrays
    )


def test_a_digest_of_predictions_sees_texts_and_numbers(tmp_path):
    found = Store(tmp_path)
    own = found.predictions_digest(ITEMS, ARRAYS)
    moved = {**ARRAYS, "probabilities": np.nextafter(ARRAYS["probabilities"], np.float32(99))}
    renamed = {name + "s": value for name, value in ARRAYS.items()}
    assert (
        len(
            {
                own,
                found.predictions_digest(ITEMS[::-1], ARRAYS),
                found.predictions_digest(ITEMS, moved),
                found.predictions_digest(ITEMS, renamed),
                found.predictions_digest(ITEMS, {}),
            }
        )
        == 5
    )


@pytest.mark.parametrize("kind", ["float32", "int64"])
def test_a_digest_takes_an_empty_array(tmp_path, kind):
    empty = torch.zeros(0, dtype=getattr(torch, kind))
    assert Store(tmp_path).predictions_digest([], {"a": np.array([], dtype=kind)}) == digest(
        [[], tensors_digest({"a": empty})]
    )


def test_results_come_in_order_of_their_keys(tmp_path):
    found = Store(tmp_path)
    made = [
        Result(cell=replace(CELL, language=code), status=results.DONE)
        for code in ("de", "fr", "zh")
    ]
    for result in made:
        found.save_result(result, [], {})
    assert found.results() == sorted(made, key=lambda result: result.cell.key)


def test_a_data_set_comes_back_and_a_missing_one_is_named(tmp_path):
    found = Store(tmp_path)
    data = DataSet(
        "xnli", "en", "dev[:5]", digest("rows"), frozenset({"b", "a"}), frozenset({"0f", "é"})
    )
    found.save_data_set(data)
    found.save_data_set(data)
    assert found.load_data_set(data.digest) == data
    with pytest.raises(XittError, match=f"{OTHER}.json: missing"):
        found.load_data_set(OTHER)


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def test_progress_comes_back_bit_by_bit(tmp_path):
    odd = torch.tensor([float("nan"), -0.0, float("inf"), 5e-324, 1 / 3], dtype=torch.float64)
    # NaNs with a payload
    payload = torch.tensor([0x7FC12345, 0x7F800001], dtype=torch.int32).view(torch.float32)
    tensors = {
        "now.a": odd,
        "now.b": payload,
        "exp_avg.a": torch.randn(4, 3).T,
        "step.a": torch.tensor(7.0),
        "best.a": torch.randn(5).bfloat16(),
        "half": torch.randn(3, 2).half(),
        "count": torch.arange(3),
        "flag": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
        "grad": torch.ones(2, requires_grad=True),
    }
    state = {
        "step": 7,
        "best": -float("inf"),
        "history": [[4, {"accuracy": 0.1 + 0.2}]],
        "looks": None,
        "said": "中文",
    }
    found = Store(tmp_path)
    assert found.load(KEY) is None
    found.save(KEY, tensors, state)
    back, kept = found.load(KEY)
    assert kept == state and set(back) == set(tensors)
    for name, value in tensors.items():
        assert (back[name].dtype, back[name].shape, bits(back[name])) == (
            value.dtype,
            value.shape,
            bits(value),
        ), name
    assert not back["grad"].requires_grad
    found.save(KEY, {"now": torch.ones(1)}, {"step": 8})
    assert found.load(KEY)[1] == {"step": 8} and set(found.load(KEY)[0]) == {"now"}
    found.forget(KEY)
    found.forget(KEY)
    assert found.load(KEY) is None and left(tmp_path) == {"progress"}


def test_the_store_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XITT_STORE", str(tmp_path))
    assert store.default_root() == tmp_path
    monkeypatch.delenv("XITT_STORE")
    assert store.default_root() == Path("store")


def test_embeddings_are_kept_within_their_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The vectors come back to the bit; the longest unused go first; what is larger than the room
    is not kept."""
    found, vectors = (
        Store(tmp_path),
        np.random.default_rng(1).standard_normal((50, 8), dtype=np.float32),
    )
    monkeypatch.setattr("adapters_xitt.study.store.KEPT_EMBEDDINGS", 2 * (vectors.nbytes + 200))
    assert found.load_embeddings("aa") is None
    for age, key in ((30, "aa"), (20, "bb")):
        found.save_embeddings(key, vectors)
        os.utime(tmp_path / "embeddings" / f"{key}.safetensors", (time.time() - age,) * 2)
    assert np.array_equal(found.load_embeddings("aa"), vectors)  # used now, so younger than bb
    found.save_embeddings("cc", vectors + 1)
    assert found.load_embeddings("bb") is None
    assert (
        np.array_equal(found.load_embeddings("cc"), vectors + 1)
        and found.load_embeddings("aa") is not None
    )
    found.save_embeddings("dd", np.zeros((1000, 8), dtype=np.float32))
    assert found.load_embeddings("dd") is None and found.load_embeddings("cc") is not None


OF_FILES = """
import resource, sys
from pathlib import Path
from adapters_xitt.study.store import Store
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
keys, done = [f"{n:064x}" for n in range(400)], set()
while left := [key for key in keys if key not in done]:
    with Store(Path(sys.argv[1])).claim(left) as held:
        assert held and not done & set(held)
        done |= set(held)
print(len(done))
"""


def test_hundreds_of_keys_are_claimed_with_a_hundred_open_files_and_leave_no_file(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", OF_FILES, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "400"), ran.stderr[-2000:]
    assert left(tmp_path) == {"locks"}


def test_two_share_many_keys_and_never_hold_the_same(tmp_path):
    keys = [digest(n) for n in range(150)]
    with Store(tmp_path).claim(keys) as mine, Store(tmp_path).claim(keys) as theirs:
        assert mine and theirs and not set(mine) & set(theirs)
        with Store(tmp_path).claim(keys, most=1000) as rest:
            assert sorted([*mine, *theirs, *rest]) == sorted(keys)


def test_a_lock_file_that_is_taken_away_is_no_lock(tmp_path):
    """Threads claim and let go of one key as fast as they can; files come and go, and nobody is in
    twice."""
    inside, most, start = [], [0], Barrier(4)

    def work() -> None:
        start.wait()
        for _ in range(300):
            with Store(tmp_path).claim([KEY]) as held:
                if held:
                    inside.append(1)
                    most[0] = max(most[0], len(inside))
                    time.sleep(1e-5)
                    inside.pop()

    running = [Thread(target=work) for _ in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(timeout=60)
    assert most == [1] and left(tmp_path) == {"locks"}


def test_the_lock_of_a_killed_process_is_swept(tmp_path):
    dying = "\n".join(["import os", HOLDER.replace("time.sleep(600)", "os._exit(9)")])
    subprocess.run(
        [sys.executable, "-c", dying, str(tmp_path), KEY], capture_output=True, timeout=60
    )
    assert left(tmp_path) == {"locks", f"locks/{KEY}.lock"}
    with Store(tmp_path).claim([OTHER]):
        Store(tmp_path).sweep()
        assert left(tmp_path) == {"locks", f"locks/{OTHER}.lock"}
