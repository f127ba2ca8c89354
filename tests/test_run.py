"""Whole runs through the console script: finished, killed and resumed, side by side, wrong."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pico_world as world
import pytest
from click.testing import CliRunner

from adapters_xitt.cli.main import main
from adapters_xitt.modules import serialization
from adapters_xitt.study.store import Store

XITT = (sys.executable, "-m", "adapters_xitt.cli")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "120"}


def xitt(*words: object, code: int = 0, apart: bool = False) -> str:
    """What the console script prints, both streams; its exit status must be `code`. `apart`: in its
    own process."""
    if apart:
        ran = subprocess.run(
            [*XITT, *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT, timeout=300
        )
        status, printed = ran.returncode, ran.stdout + ran.stderr
    else:
        result = CliRunner().invoke(main, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        status, printed = result.exit_code, result.output
    assert status == code, printed[-3000:]
    return printed


def outcome(store: Path) -> dict[str, object]:
    """What a finished store says: digests of modules, predictions and scores of cells."""
    found = Store(store)
    modules = {
        manifest.key: (
            manifest.digest,
            serialization.read_module(found.module_folder(manifest.key)).manifest.digest,
        )
        for manifest in found.manifests()
    }
    results = {
        result.cell.key: (
            result.scores,
            result.predictions,
            (store / "results" / result.cell.key / "predictions.jsonl").read_bytes(),
        )
        for result in found.results()
    }
    return {"modules": modules, "results": results}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pico_dir, pico_world) -> tuple[Path, Path, str]:
    """A recipe run to its end by the console script: recipe, store, what was printed."""
    folder = tmp_path_factory.mktemp("run")
    recipe = world.recipe(folder / "grid.yaml", pico_dir, pico_world)
    printed = xitt("run", recipe, "--store", folder / "store", "--device", "cpu", apart=True)
    return recipe, folder / "store", printed


def test_a_run_finishes_and_leaves_whole_files(finished) -> None:
    _, store, printed = finished
    grid = json.loads((store / "runs" / "grid" / "grid.json").read_text())
    counted = {
        status: sum(entry["status"] == status for entry in grid["entries"])
        for status in ("done", "not applicable", "blocked", "failed")
    }
    # 2 methods × 2 seeds × (none, sequential and one of stack and sum) × 8 languages of three
    # targets
    assert counted == {
        "done": 2 * 2 * 3 * 8,
        "not applicable": 2 * 2 * 8,
        "blocked": 0,
        "failed": 0,
    }
    written = {path.name for path in (store / "runs" / "grid").iterdir()}
    names = ("grid.csv", "grid.png", "consistency.csv", "consistency.png")
    assert written == {"grid.json", "report.md", *names}
    assert not list((store / "progress").glob("*")), "a finished module has no progress left"
    assert not [path for path in store.rglob(".*")], "a file that is not whole was left behind"
    assert "demo-retrieval" in printed and "n/a" in printed


def test_a_second_run_does_nothing_and_says_the_same(finished) -> None:
    recipe, store, _ = finished
    before, seen = (
        outcome(store),
        {path: path.stat().st_mtime_ns for path in store.glob("*/*/*.safetensors")},
    )
    xitt("run", recipe, "--store", store, "--device", "cpu")
    assert outcome(store) == before
    assert {path: path.stat().st_mtime_ns for path in store.glob("*/*/*.safetensors")} == seen


def test_predictions_are_kept_with_probabilities(finished) -> None:
    from safetensors.numpy import load_file

    _, store, _ = finished
    for result in Store(store).results():
        folder = store / "results" / result.cell.key
        items = [
            json.loads(line) for line in (folder / "predictions.jsonl").read_text().splitlines()
        ]
        arrays = load_file(folder / "predictions.safetensors")
        assert len(items) == result.examples
        if result.cell.task == "demo-pairs":
            assert arrays["probabilities"].shape == (len(items), 2)
            assert abs(arrays["probabilities"].sum(1) - 1).max() < 1e-5
            right = sum(item["label"] == item["gold"] for item in items)
            assert abs(100 * right / len(items) - result.scores["accuracy"]) < 1e-9
        if result.cell.task == "demo-pos":
            assert (
                arrays["words"].sum()
                == len(arrays["probabilities"])
                == sum(len(item["tags"]) for item in items)
            )


# The child imports everything once and forks; each fork runs the recipe and is killed after its
# delay.
KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from adapters_xitt import progress
from adapters_xitt.api import common
from adapters_xitt.api.grids import Grid
from adapters_xitt.evaluation import predict
from adapters_xitt.model import encoder, setup
from adapters_xitt.study import runner
from adapters_xitt.training import loop
import adapters, peft, transformers, matplotlib.figure
recipe, store = Path(sys.argv[1]), Path(sys.argv[2])
seed, whole = int(sys.argv[3]), float(sys.argv[4])
draw, kills, attempts = random.Random(seed), 0, 0
while True:
    attempts += 1
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        work = common.open_recipe(recipe, (), store)
        grid = common.run_work(work, device="cpu", threads=1, log="none", keep_every=0.0)
        os._exit(0 if Grid(grid, common.run_folder(work), store).ok else 1)
    if kills < 10:
        time.sleep(draw.uniform(0.04, 0.18) * whole)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        kills += 1
        continue
    print(os.WEXITSTATUS(status), kills, attempts)
    break
"""


def test_killed_ten_times_the_end_is_the_same(finished, tmp_path: Path) -> None:
    recipe, store, _ = finished
    code = tmp_path / "killed.py"
    code.write_text(KILLED)
    began = time.monotonic()
    seed = random.SystemRandom().randrange(10**6)
    found = subprocess.run(
        [sys.executable, code, recipe, tmp_path / "store", str(seed), "8"],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=400,
    )
    assert found.returncode == 0, found.stderr[-3000:]
    status, kills, attempts = map(int, found.stdout.split())
    assert status == 0
    print(
        f"seed {seed}: killed {kills} times in {attempts} attempts,"
        f" {time.monotonic() - began:.0f} s"
    )
    assert kills == 10, "the run ended before it was killed ten times; make it longer"
    assert outcome(tmp_path / "store") == outcome(store)


def test_two_processes_on_one_store_share_the_work(finished, tmp_path: Path) -> None:
    recipe, store, _ = finished
    words = [*XITT, "run", str(recipe), "--store", str(tmp_path / "store"), "--device", "cpu"]
    both = [
        subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT
        )
        for _ in range(2)
    ]
    for process in both:
        printed, _ = process.communicate(timeout=300)
        assert process.returncode == 0, printed[-3000:]
    assert outcome(tmp_path / "store") == outcome(store)
    twice = [path.parent.name for path in (tmp_path / "store" / "logs").glob("*/version_1")]
    assert not twice, "a module was trained by both"


def test_children_stand_on_the_stored_parent_not_on_its_last_step(finished) -> None:
    """The parent's best step is not its last here; a child trained in the same process must not see
    the last."""
    _, store, _ = finished
    found = Store(store)
    parents = [
        manifest
        for manifest in found.manifests()
        if manifest.metrics["step"] < manifest.metrics["steps"]
    ]
    assert any(
        parent.key in manifest.training["below"]
        for parent in parents
        for manifest in found.manifests()
    )


def test_ctrl_c_keeps_what_is_finished(finished, tmp_path: Path) -> None:
    recipe, store, _ = finished
    words = [*XITT, "run", str(recipe), "--store", str(tmp_path / "store"), "--device", "cpu"]
    # Where the tests run in the background, a shell has them ignore the signal, and a child
    # inherits that.
    process = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    modules = tmp_path / "store" / "modules"
    while process.poll() is None and not list(modules.glob("*/manifest.json")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130, printed[-2000:]
    assert "stopped" in printed and "Traceback" not in printed
    xitt("run", recipe, "--store", tmp_path / "store", "--device", "cpu")
    assert outcome(tmp_path / "store") == outcome(store)


def test_plan_trains_nothing_and_counts(finished, tmp_path: Path) -> None:
    recipe, store, _ = finished
    printed = xitt("plan", recipe, "--store", tmp_path / "none")
    assert "To do: 28 of 28 modules, 82 of 82 cells" in " ".join(printed.split())
    assert not (tmp_path / "none").exists()
    assert "To do: 0 of 28 modules, 0 of 82 cells" in " ".join(
        xitt("plan", recipe, "--store", store).split()
    )
    assert "To do: 28 of 28" in xitt("run", recipe, "--dry-run", "--store", tmp_path / "none")


def test_leftovers_of_killed_processes_are_swept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for name, age in (("modules/.old-x", 7200), ("modules/.new-x", 10), ("progress/.old-y", 7200)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        (path.mkdir if "modules" in name else path.touch)()
        os.utime(path, (time.time() - age,) * 2)
    store.sweep()
    assert [path.name for path in tmp_path.glob("*/.*")] == [".new-x"]


def test_a_changed_recipe_runs_only_what_changed(finished, tmp_path: Path) -> None:
    recipe, store, _ = finished
    printed = " ".join(xitt("plan", recipe, "seeds=[1,2,3]", "--store", store).split())
    assert "To do: 14 of 42 modules" in printed
    printed = " ".join(xitt("plan", recipe, "training.max_steps=5", "--store", store).split())
    assert "To do: 28 of 28 modules" in printed


def test_train_evaluate_show_without_a_recipe(tmp_path: Path, pico_dir, pico_world) -> None:
    where = ("--store", tmp_path / "s", "--data", pico_world)
    short = ("training.max_steps=3", "training.batch_size=8", "lengths.max_length=40")
    for task, name in (("demo-nli", "nli"), ("demo-pairs", "pairs")):
        printed = xitt(
            "train",
            task,
            *short,
            "--encoder",
            pico_dir,
            "--method",
            "seq_bn(reduction=4)",
            "--name",
            name,
            "--device",
            "cpu",
            *where,
        )
        assert name in printed
    xitt(
        "train",
        "demo-pairs",
        *short,
        "--encoder",
        pico_dir,
        "--after",
        "nli",
        "--mode",
        "stack",
        "--name",
        "above",
        "--device",
        "cpu",
        *where,
    )
    listed = xitt("show", "--store", tmp_path / "s")
    assert all(name in listed for name in ("nli", "pairs", "above"))
    assert "Exposure: trained on" in xitt("show", "above", "--store", tmp_path / "s")
    alone = xitt(
        "evaluate",
        "above",
        "demo-pairs",
        "--language",
        "de",
        "--device",
        "cpu",
        "--set",
        "lengths.max_length=40",
        *where,
    )
    assert "accuracy" in alone
    assert "zero-shot" in xitt(
        "evaluate",
        "nli > pairs",
        "demo-pairs",
        "--language",
        "de",
        "--device",
        "cpu",
        "--set",
        "lengths.max_length=40",
        *where,
    )
    assert "accuracy" in xitt(
        "evaluate",
        "none",
        "demo-retrieval",
        "--encoder",
        pico_dir,
        "--language",
        "de",
        "--set",
        "lengths.max_length=40",
        "--device",
        "cpu",
        *where,
    )
    wrong = xitt("evaluate", "nli > pears", "demo-pairs", *where, code=2)
    assert "did you mean" in wrong.lower() and "Traceback" not in wrong
    assert "character 7" in xitt("evaluate", "nli > > pairs", "demo-pairs", *where, code=2)
    assert "head" in xitt("evaluate", "nli", "demo-pairs", "--encoder", pico_dir, *where, code=2)


def test_wrong_words_end_with_status_two_and_write_nothing(
    tmp_path: Path, pico_dir, pico_world
) -> None:
    recipe = world.recipe(tmp_path / "grid.yaml", pico_dir, pico_world)
    for words, part in (
        (("run", tmp_path / "grud.yaml"), "Did you mean 'grid.yaml'"),
        (("run", recipe, "seed=[1]"), "Did you mean 'seeds'"),
        (("run", recipe, "targets=[demo-pear]"), "Did you mean 'demo-pairs'"),
        (("run", recipe, "encoder=nowhere"), "no such folder"),
        (("run", recipe, "--device", "cuda"), "finds none"),
        (("report", "nothing"), "unknown run"),
        (("tasks", "demo-par"), "Did you mean 'demo-pairs'"),
        (("train", "tatoeba"), "trains nothing"),
    ):
        printed = xitt(*words, "--store", tmp_path / "store", code=2)
        assert part in printed and "Traceback" not in printed, (words, printed)
    assert not (tmp_path / "store" / "modules").exists()


def test_broken_data_stops_before_anything_runs(tmp_path: Path, pico_dir) -> None:
    root = world.write(tmp_path / "data")
    (root / "demo-pairs" / "test-de.tsv").write_text("one column only\n")
    (root / "demo-pos" / "test-fi.conllu").unlink()
    recipe = world.recipe(tmp_path / "grid.yaml", pico_dir, root)
    printed = xitt("run", recipe, "--store", tmp_path / "store", code=2)
    assert "test-de.tsv:1" in printed and "test-fi.conllu: no such file" in printed, printed
    assert not (tmp_path / "store").exists()


def test_bf16_runs_and_stays_near(finished, tmp_path: Path) -> None:
    recipe, *_ = finished
    xitt(
        "run",
        recipe,
        "seeds=[1]",
        "targets=[demo-retrieval]",
        "--precision",
        "bf16",
        "--store",
        tmp_path / "s",
        "--device",
        "cpu",
    )
    results = Store(tmp_path / "s").results()
    assert results and {result.cell.precision for result in results} == {"bf16"}


def test_sentence_vectors_are_found_again(
    finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its results a retrieval cell is scored again from the vectors that are kept, without
    the encoder."""
    recipe, *_ = finished
    words = (
        "run",
        recipe,
        "seeds=[1]",
        "targets=[demo-retrieval]",
        "--store",
        tmp_path / "s",
        "--device",
        "cpu",
    )
    xitt(*words)
    before = outcome(tmp_path / "s")
    with monkeypatch.context() as short:  # room for the vectors of one composition at a time
        short.setattr("adapters_xitt.study.scorer.VECTORS", 1)
        xitt(*words[:-3], tmp_path / "alone", "--device", "cpu")
    assert outcome(tmp_path / "alone") == before
    shutil.rmtree(tmp_path / "s" / "results")
    monkeypatch.setattr("adapters_xitt.evaluation.predict.outputs", None)
    xitt(*words)
    assert before["results"] and outcome(tmp_path / "s") == before


def test_doctor_finds_the_laws_to_hold() -> None:
    printed = xitt("doctor")
    assert printed.count("law: ") == 7 and "All is well" in printed


def test_tasks_lists_and_shows(pico_dir, pico_world) -> None:
    listed = xitt("tasks")
    assert "tatoeba" in listed and "demo-pos" in listed
    shown = xitt("tasks", "demo-pairs", "--encoder", pico_dir, "--data", pico_world)
    assert "<s>" in shown and "as the encoder sees it" in shown


def test_large_splits_are_tokenised_once(
    tmp_path: Path, pico_dir, pico_world, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files give back what encoding gave, for every kind."""
    from adapters_xitt.study import encoding, inputs
    from adapters_xitt.study import recipe as recipes

    found = recipes.load(world.recipe(tmp_path / "grid.yaml", pico_dir, pico_world))
    plain = inputs.Inputs(found, pico_world)
    monkeypatch.setattr(inputs, "CACHED", 1)
    first = inputs.Inputs(found, pico_world, Store(tmp_path / "store"))
    second = inputs.Inputs(found, pico_world, Store(tmp_path / "store"))
    for name in ("demo-nli", "demo-pos", "demo-qa", "demo-retrieval"):
        wanted = plain.features(plain.test(name, "de"))
        assert _same(first.features(first.test(name, "de")), wanted)
        with monkeypatch.context() as patch:
            patch.setattr(encoding, "encode", None)  # a second tokenisation would call it
            assert _same(second.features(second.test(name, "de")), wanted)


def _same(one, two) -> bool:
    return one.examples == two.examples and {n: v.tolist() for n, v in one.columns.items()} == {
        n: v.tolist() for n, v in two.columns.items()
    }


SMALL_LIMIT = """
import resource, sys
from adapters_xitt.cli import main
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
main(sys.argv[1:])
"""


def test_more_cells_of_one_target_than_open_files(tmp_path: Path, pico_dir, pico_world) -> None:
    """A claim holds a part of a target's cells, and no lock is left."""
    recipe = world.recipe(tmp_path / "grid.yaml", pico_dir, pico_world)
    seeds = ",".join(map(str, range(1, 44)))
    words = [
        "run",
        recipe,
        "methods=[head]",
        "intermediates=[]",
        "targets=[demo-pairs]",
        "modes=[none]",
        f"seeds=[{seeds}]",
        "training.max_steps=1",
        "training.evaluate_every=1",
        "--store",
        tmp_path / "store",
        "--device",
        "cpu",
        "--log",
        "none",
    ]
    ran = subprocess.run(
        [sys.executable, "-c", SMALL_LIMIT, *map(str, words)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert len(list((tmp_path / "store" / "results").iterdir())) == 129
    assert not list((tmp_path / "store" / "locks").iterdir())


SWALLOWED = """
import os, signal, sys
from adapters_xitt.training import loop
from adapters_xitt.cli import main
class Library:
    def __del__(self):
        try:
            os.kill(os.getpid(), signal.SIGINT)
            for _ in range(1000):
                pass  # the exception comes here
        except KeyboardInterrupt:
            print("swallowed", file=sys.stderr)
            raise  # which __del__ can't: Python ignores it
kept = loop._train_step
def step(modules, batch, step, *words):
    if step == 1:
        library = Library()
        del library
    return kept(modules, batch, step, *words)
loop._train_step = step
signal.signal(signal.SIGINT, signal.default_int_handler)
main(sys.argv[1:])
"""


def test_an_interrupt_that_a_library_swallows_stops_the_run(finished, tmp_path: Path) -> None:
    recipe, _, _ = finished
    words = ["run", recipe, "--store", tmp_path / "store", "--device", "cpu", "--log", "none"]
    ran = subprocess.run(
        [sys.executable, "-c", SWALLOWED, *map(str, words)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert ran.returncode == 130, ran.stderr[-2000:]
    assert "swallowed" in ran.stderr
    assert "Exception ignored" not in ran.stderr and "Traceback" not in ran.stderr
    assert ran.stderr.rstrip().endswith("goes on from the last checkpoint")
    assert not (tmp_path / "store" / "modules").exists()


EXECUTED = """
import sys
from adapters_xitt import stopping
with stopping.listening():
    try:
        exec("import os, signal; os.kill(os.getpid(), signal.SIGTERM)\\nfor _ in range(1000): pass")
    except KeyboardInterrupt:
        sys.exit(128 + stopping.signal_received())
"""


def test_a_stop_in_the_middle_of_an_exec_keeps_the_exit_status(tmp_path: Path) -> None:
    (tmp_path / "executed.py").write_text(EXECUTED)
    ran = subprocess.run(
        [sys.executable, "-m", "executed"],
        env={**ENVIRONMENT, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[1]}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 143, ran.stderr


def wait_for(found, seconds: float = 60.0):
    """What `found` gives once it gives something."""
    until = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < until, "nothing came"
        time.sleep(0.05)
    return value


def test_sigterm_stops_as_ctrl_c_does(finished, tmp_path: Path) -> None:
    recipe, _, _ = finished
    process = subprocess.Popen(
        [*XITT, "run", str(recipe), "--store", str(tmp_path / "store"), "--device", "cpu"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )
    wait_for(lambda: list((tmp_path / "store" / "locks").glob("*.lock")))
    process.terminate()
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 143, printed[-2000:]
    assert "stopped; what was finished is kept" in printed and "Traceback" not in printed
    assert not list((tmp_path / "store" / "locks").glob("*.lock"))


def workers_of(pid: int) -> list[int]:
    """The living children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def living(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are looked up in /proc")
def test_workers_end_with_a_parent_that_is_killed_and_what_they_say_is_kept(
    finished, tmp_path: Path
) -> None:
    recipe, _, _ = finished
    process = subprocess.Popen(
        [
            *XITT,
            "run",
            str(recipe),
            "--store",
            str(tmp_path / "store"),
            "--device",
            "cpu",
            "--workers",
            "2",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )
    try:
        (worker,) = wait_for(lambda: workers_of(process.pid))
        log = tmp_path / "store" / "logs" / "worker-2.log"
        wait_for(lambda: log.is_file() and log.read_text())
    finally:
        process.kill()
        process.wait(timeout=30)
    wait_for(lambda: not living(worker), 30.0)
    assert "tokens to read" in log.read_text() or "stopped" in log.read_text()


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are looked up in /proc")
def test_the_end_of_a_failed_workers_words_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from adapters_xitt import progress
    from adapters_xitt.api import workers

    with (
        progress.watched(),
        workers.others(
            ["show", "no-such-module", "--store", tmp_path / "store"], 1, tmp_path / "logs"
        ),
    ):
        wait_for(lambda: "no-such-module" in (tmp_path / "logs" / "worker-2.log").read_text())
        wait_for(lambda: not any(map(living, workers_of(os.getpid()))))
    told = capsys.readouterr().err
    assert "worker-2 ended with exit status 2" in told and "unknown module 'no-such-module'" in told
