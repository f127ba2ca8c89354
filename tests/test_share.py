"""`xitt push`, `pull`, `search` and `verify` on modules of a small grid, over a hub on the
loopback."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pico
import pico_world as world
import pytest
from forged import reseal, rewrite
from hub_shop import ModelHub

from adapters_xitt.cli.main import main
from adapters_xitt.errors import XittError
from adapters_xitt.modules import serialization
from adapters_xitt.sharing import bundle
from adapters_xitt.study.store import Store


@pytest.fixture(scope="module")
def grid(tmp_path_factory, pico_dir, pico_world) -> Path:
    """The store of a run with two seeds of bottlenecks and low-rank updates, alone and above an
    intermediate."""
    from click.testing import CliRunner

    folder = tmp_path_factory.mktemp("grid")
    recipe = world.recipe(folder / "grid.yaml", pico_dir, pico_world)
    ran = CliRunner().invoke(
        main,
        [
            "run",
            str(recipe),
            "--store",
            str(folder / "store"),
            "--device",
            "cpu",
            "targets=[demo-pairs, demo-pos]",
            "modes=[none, stack, sum]",
        ],
    )
    assert ran.exit_code == 0, ran.output
    return folder / "store"


@pytest.fixture
def hub() -> Iterator[ModelHub]:
    found = ModelHub()
    yield found
    found.close()


@pytest.fixture
def home(hub: ModelHub, tmp_path: Path) -> Path:
    hub.log_in(tmp_path / "home")
    return tmp_path / "home"


def entries(store: Path, **wanted: Any) -> list[dict[str, Any]]:
    found = json.loads((store / "runs" / "grid" / "grid.json").read_text())["entries"]
    return [
        one
        for one in found
        if one["status"] == "done" and all(one[name] == value for name, value in wanted.items())
    ]


def key_of(store: Path, mode: str, *, seed: int = 1) -> str:
    """The top module of a row of the grid, for pairs."""
    found = entries(store, mode=mode, seed=seed, language="de", target="demo-pairs")
    composition = Store(store).load_result(found[0]["key"]).cell.composition
    return composition.split(" ")[-1]


def good(ran: CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-3000:]
    return ran.stdout


def refused(ran: CompletedProcess[str]) -> str:
    assert ran.returncode == 2 and "Traceback" not in ran.stderr, (
        ran.stdout[-2000:] + ran.stderr[-3000:]
    )
    return ran.stderr


def put(hub: ModelHub, store: Path, repo: str, folder: Path) -> None:
    """A module of the grid on the hub, as a push leaves it, without the client."""
    key = key_of(store, "none")
    folder.mkdir()
    bundle.pack(
        Store(store),
        key,
        folder,
        repo=repo,
        publication=bundle.Publication(
            results=[one for one in Store(store).results() if one.cell.composition == key]
        ),
    )
    hub.add(
        repo,
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        },
    )


# -- there and back


@pytest.mark.parametrize("mode", ["stack", "sum"])
def test_a_module_is_pushed_pulled_into_an_empty_home_and_verified(
    hub, home, grid, pico_dir, pico_world, tmp_path, mode: str
) -> None:
    key = key_of(grid, mode)
    said = good(
        hub.xitt(
            "push", key, "ana/m", "--store", grid, "--run", "grid", "--licence", "mit", home=home
        )
    )
    commit = hub.repos["ana/m"].branches["main"]
    assert f"xitt pull hub:ana/m@{commit}" in said
    sent = hub.files("ana/m")
    library = {"stack": "adapters", "sum": "peft"}[mode]
    assert sorted(
        name.split("/", 2)[2].removeprefix(f"{library}/")
        for name in sent
        if name.startswith("parts/")
    ) == [
        "adapter.safetensors" if mode == "stack" else "adapter_config.json",
        "adapter_config.json" if mode == "stack" else "adapter_model.safetensors",
        "manifest.json",
        "module.safetensors",
    ]
    assert str(pico_dir).encode() not in b"".join(sent.values()), (
        "nothing of this machine goes along"
    )
    fresh = tmp_path / "fresh"
    good(hub.xitt("pull", f"hub:ana/m@{commit}", "--store", fresh, home=tmp_path / "nobody"))
    folder = fresh / "hub" / f"ana--m@{commit}"
    assert (
        serialization.read_module(folder).manifest.digest
        == Store(grid).load_module(key).manifest.digest
    )
    ran = hub.xitt(
        "verify",
        f"hub:ana/m@{commit}",
        "--store",
        fresh,
        "--encoder",
        pico_dir,
        "--data",
        pico_world,
        "--device",
        "cpu",
        home=tmp_path / "nobody",
    )
    own = [
        one
        for one in entries(grid, mode=mode, seed=1, target="demo-pairs")
        if Store(grid).load_result(one["key"]).cell.composition.endswith(key)
    ]
    assert f"{len(own)} of {len(own)} stated numbers hold, 0 do not" in good(ran) and len(own) == 3
    assert ran.stdout.count("holds: the same") == 3
    assert sorted(path.name for path in fresh.iterdir()) == ["hub"], (
        "a pulled key answers nothing in the store"
    )


SNIPPET = """
import json, torch
model.eval()
ids = torch.tensor([[0, 5, 9, 7, 2]])
said = model(input_ids=ids)
if "last_hidden_state" in said:
    raise SystemExit("it has no head")
inner = getattr(model, "base_model", model).roberta if "peft" in str(type(model)) else model.roberta
found = inner(input_ids=ids).last_hidden_state
print(json.dumps([said.logits.flatten().tolist(), found.flatten().tolist()]))
"""


@pytest.mark.parametrize("mode", ["none", "stack", "sum"])
def test_each_library_alone_says_what_the_pushed_module_says(
    hub, home, grid, pico_dir, pico_files, tmp_path, mode: str
) -> None:
    """The card's own snippet, run as it stands by adapters alone or peft alone over the hub,
    against our encoder under the module in its context, and our head above it: the same logits in
    the order that the card says."""
    import subprocess
    import sys

    import torch
    from test_card import served

    from adapters_xitt.hub import Reference
    from adapters_xitt.kinds import heads
    from adapters_xitt.modules import composition as compose
    from adapters_xitt.modules import methods

    key, store = key_of(grid, mode), Store(grid)
    base = Reference("lab/pico", hub.add("lab/pico", served(pico_dir)))
    good(hub.xitt("push", key, "ana/m", "--store", grid, "--base", str(base), home=home))
    text = hub.files("ana/m")["README.md"].decode()
    (snippet,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    ran = subprocess.run(
        [sys.executable, "-c", snippet + SNIPPET],
        capture_output=True,
        text=True,
        timeout=300,
        env=hub.environment(tmp_path / "nobody"),
        cwd=tmp_path,
    )
    logits, theirs = map(torch.tensor, json.loads(good(ran).splitlines()[-1]))
    context = compose.parse(serialization.read_manifest(store.module_folder(key)).context)
    adapted, words = (
        pico.adapted(pico_files),
        {one: f"m{n}" for n, one in enumerate(compose.names(context))},
    )
    for one, word in words.items():
        module = store.load_module(one)
        adapted.add(
            word, methods.from_record(module.manifest.method), tensors=module.part("encoder")
        )
    ids = torch.tensor([[0, 5, 9, 7, 2]])
    ours = pico.states(
        adapted,
        pico.setup(
            adapted, compose.show(compose.rename(context, lambda one: compose.Part(words[one])))
        ),
        ids,
        torch.ones_like(ids),
    ).flatten()
    assert pico.gap(theirs, ours) < 1e-5
    ((space, kept),) = store.load_module(key).manifest.heads.items()
    head = heads.build(kept["kind"], adapted.encoder, len(kept["labels"]), seed=0).eval()
    head.load_state_dict(store.load_module(key).part(f"head.{space}"))
    with torch.no_grad():
        said = head(ours.view(1, 5, -1), {"mask": torch.ones_like(ids)}).flatten()
    assert pico.gap(logits, said) < 1e-5 and logits.std() > 1e-3
    assert f"in this order: {', '.join(kept['labels'])}" in snippet
    plain = pico.states(adapted, pico.setup(adapted, "none"), ids, torch.ones_like(ids)).flatten()
    assert pico.gap(theirs, plain) > 1e-3


def test_a_module_on_a_hub_stands_in_expressions_and_recipes(
    hub, home, grid, pico_dir, pico_world, tmp_path
) -> None:
    """`hub:owner/name@commit` wherever a module is named; what it scores is what it scored where it
    was made."""
    key, fresh = key_of(grid, "stack"), tmp_path / "fresh"
    good(hub.xitt("push", key, "ana/m", "--store", grid, home=home))
    name = f"hub:ana/m@{hub.repos['ana/m'].branches['main']}"
    own = (
        "--store",
        fresh,
        "--encoder",
        pico_dir,
        "--data",
        pico_world,
        "--device",
        "cpu",
        "--language",
        "de",
        "--set",
        "lengths={max_length: 40, stride: 8, question: 8}",
    )
    nobody = tmp_path / "nobody"
    assert "trained together with" not in good(hub.xitt("compose", name, *own, home=nobody))
    good(hub.xitt("evaluate", name, "demo-pairs", *own, home=nobody))
    (mine,) = Store(fresh).results()
    (made,) = entries(grid, mode="stack", seed=1, language="de", target="demo-pairs")
    assert mine.scores == made["scores"] and mine.tag == made["tag"]
    assert mine.predictions == Store(grid).load_result(made["key"]).predictions
    told = refused(
        hub.xitt(
            "evaluate", name, "demo-pairs", "--store", fresh, "--data", pico_world, home=nobody
        )
    )
    assert "chooses no encoder" in told and "--encoder" in told
    recipe = world.recipe(tmp_path / "grid.yaml", pico_dir, pico_world)
    changed = (
        "targets=[demo-pairs]",
        "languages=[de]",
        "modes=[none]",
        "intermediates=[]",
        "seeds=[1]",
        "methods=[{name: seq_bn, reduction: 4, learning_rate: 1.0e-2}]",
    )
    good(
        hub.xitt(
            "run",
            recipe,
            *changed,
            f"compositions=['{name}']",
            "--store",
            fresh,
            "--device",
            "cpu",
            home=nobody,
        )
    )
    rows = {
        one["mode"]: one
        for one in json.loads((fresh / "runs" / "grid" / "grid.json").read_text())["entries"]
    }
    assert rows["composed"]["scores"] == made["scores"] and rows["composed"]["status"] == "done"
    told = refused(
        hub.xitt(
            "plan",
            recipe,
            *changed,
            "compositions=['hub:ana/m@main']",
            "--store",
            fresh,
            home=nobody,
        )
    )
    assert "a commit is pinned" in told


def test_the_card_has_the_numbers_of_the_grid_the_other_seed_and_row_none(hub, home, grid) -> None:
    from huggingface_hub import ModelCard

    good(
        hub.xitt(
            "push", key_of(grid, "stack"), "ana/m", "--store", grid, "--run", "grid", home=home
        )
    )
    text = hub.files("ana/m")["README.md"].decode()
    method = entries(grid, mode="stack")[0]["method"]
    found = {one.dataset_args["language"]: one for one in ModelCard(text).data.eval_results}
    assert set(found) == {"en", "de", "fi"} and "demo-pos" not in text, (
        "what the row's other modules score is theirs"
    )
    for language, one in found.items():
        seeds = {
            row["seed"]: row["score"]
            for row in entries(grid, mode="stack", language=language, target="demo-pairs")
        }
        none = [
            row["score"]
            for row in entries(
                grid, mode="none", language=language, method=method, target="demo-pairs"
            )
        ]
        assert one.metric_value == seeds[1] and one.metric_args["mean"] == pytest.approx(
            sum(seeds.values()) / 2
        )
        row = next(
            line for line in text.splitlines() if f"({language})" in line and "accuracy" in line
        )
        assert f"| {sum(none) / 2:.1f} ± " in row
    assert "`none`" in text


def test_dry_run_asks_nothing_and_shows_the_card(hub, home, grid) -> None:
    said = good(
        hub.xitt("push", key_of(grid, "stack"), "ana/m", "--store", grid, "--dry-run", home=home)
    )
    assert "module.safetensors" in said and "# ana/m" in said and not hub.asked


def test_search(hub, home, grid, tmp_path) -> None:
    put(hub, grid, "ana/pairs", tmp_path / "p")
    hub.add("bea/pairs", {"README.md": b"# another program's"})
    said = good(hub.xitt("search", "pairs", home=home))
    assert "hub:ana/pairs" in said and "bea/pairs" not in said
    assert "bea/pairs" in good(hub.xitt("search", "pairs", "--all", home=home))
    assert "0 found" in good(hub.xitt("search", "pairs", "--tag", "sw", home=home))


# -- what is refused


@pytest.mark.parametrize(
    "words, told",
    [
        (("nothing", "ana/m"), "unknown module 'nothing'"),
        (("KEY", "m"), "not a repository of a hub"),
        (("KEY", "ana/m@main"), "said by --revision"),
        (("KEY", "ana/m", "--base", "lab/pico"), "name the encoder's commit too"),
        (("KEY", "ana/m", "--run", "nowhere"), "unknown run"),
    ],
)
def test_what_can_not_be_pushed(grid, words: tuple[str, ...], told: str) -> None:
    from click.testing import CliRunner

    words = tuple(key_of(grid, "none") if word == "KEY" else word for word in words)
    ran = CliRunner().invoke(main, ["push", *words, "--store", str(grid)])
    assert ran.exit_code == 2 and told in ran.output, ran.output


def test_a_push_without_a_token(hub, grid, tmp_path) -> None:
    ran = hub.xitt("push", key_of(grid, "none"), "ana/m", "--store", grid, home=tmp_path / "nobody")
    assert "needs a token" in refused(ran) and not hub.repos and not hub.asked


def test_verify_says_which_numbers_do_not_hold(
    hub, home, grid, pico_dir, pico_world, tmp_path
) -> None:
    put(hub, grid, "ana/m", tmp_path / "p")
    stated = json.loads(hub.files("ana/m")["results.json"])
    stated[0]["scores"]["accuracy"] += 20.0
    stated[1]["cell"]["data"] = "0" * 64
    hub.add("ana/m", {"results.json": json.dumps(stated).encode()})
    ran = hub.xitt(
        "verify",
        "hub:ana/m",
        "--store",
        tmp_path / "s",
        "--encoder",
        pico_dir,
        "--data",
        pico_world,
        "--device",
        "cpu",
        home=home,
    )
    assert ran.returncode == 1, ran.stderr
    assert "1 of 3 stated numbers hold, 1 do not, 1 could not be checked" in ran.stdout
    assert "-20.00" in ran.stdout and "other rows here" in ran.stdout


@pytest.mark.parametrize(
    ("spread", "seeds", "believed"),
    [
        ("4.0", 3, True),
        ("60.0", 3, False),
        ("4.0", 2, False),
        ("[1]", 3, False),
        ("!!python/name:os.system", 3, False),
    ],
)
def test_a_card_does_not_choose_what_holds(
    hub, home, grid, pico_dir, pico_world, tmp_path, spread, seeds, believed
) -> None:
    """A number 2 points off holds within a spread of three seeds that is no wider than seeds are;
    not within a wide one, one of two seeds, or what is no number."""
    put(hub, grid, "ana/m", tmp_path / "p")
    stated, *_ = json.loads(hub.files("ana/m")["results.json"])
    stated["scores"]["accuracy"] += 2.0
    cell = stated["cell"]
    text = (
        "---\nmodel-index:\n- name: ana/m\n  results:\n  - task: {type: t}\n    dataset:\n"
        f"      name: {cell['task']}\n      type: t\n      args: {{language: {cell['language']}}}\n"
        "    metrics:\n    - type: accuracy\n      value: 1.0\n"
        f"      args: {{spread: {spread}, seeds: {seeds}}}\n---\n# ana/m\n"
    )
    hub.add("ana/m", {"results.json": json.dumps([stated]).encode(), "README.md": text.encode()})
    ran = hub.xitt(
        "verify",
        "hub:ana/m",
        "--store",
        tmp_path / "s",
        "--encoder",
        pico_dir,
        "--data",
        pico_world,
        "--device",
        "cpu",
        home=home,
    )
    assert ran.returncode == (0 if believed else 1) and "Traceback" not in ran.stderr, ran.stderr[
        -2000:
    ]
    assert ("holds: within 4.00" in ran.stdout) == believed


def test_verify_wants_the_encoder_that_the_manifest_names(
    hub, home, grid, pico_world, tmp_path
) -> None:
    put(hub, grid, "ana/m", tmp_path / "p")
    other = pico.write(tmp_path / "other", seed=8)
    verify = ("verify", "hub:ana/m", "--store", tmp_path / "s", "--data", pico_world)
    assert "belongs to another encoder" in refused(hub.xitt(*verify, "--encoder", other, home=home))
    assert "name the encoder with --encoder" in refused(hub.xitt(*verify, home=home))


def _json(
    change: Callable[[dict], Any], name: str = "manifest.json"
) -> Callable[[dict[str, bytes]], None]:
    def spoil(files: dict[str, bytes]) -> None:
        value = json.loads(files[name])
        change(value)
        files[name] = json.dumps(value).encode()

    return spoil


def _part(files: dict[str, bytes], name: str = "manifest.json") -> str:
    return next(path for path in files if path.startswith("parts/") and path.endswith(name))


SPOILED: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "another digest": (_json(lambda one: one.update(digest="0" * 64)), "the manifest says"),
    "a key that is a path": (
        _json(lambda one: one.update(key="../../../etc")),
        "key: must be 64 hex",
    ),
    "another context": (
        _json(lambda one: one.update(context=f"{'e' * 64} > {one['key']}")),
        "is missing",
    ),
    "no JSON": (lambda files: files.update({"manifest.json": b"{"}), "expected JSON"),
    "an old format": (_json(lambda one: one.update(format=1)), "this version reads format"),
    "a key too many": (_json(lambda one: one.update(auto_map="x")), "unknown key 'auto_map'"),
    "a pickle as weights": (
        lambda files: files.update({"module.safetensors": b"\x80\x04cos\nsystem\n."}),
        "a pickle under the name of a safetensors file",
    ),
    "no weights": (
        lambda files: files.pop("module.safetensors"),
        "the manifest alone is no module",
    ),
    "no part": (
        lambda files: [
            files.pop(_part(files, name)) for name in ("manifest.json", "module.safetensors")
        ],
        "of the context is missing",
    ),
    "a part of another encoder": (
        lambda files: _json(lambda one: one.update(encoder="0" * 64), _part(files))(files),
        "belongs to another encoder",
    ),
    "a part under another's key": (
        lambda files: _json(
            lambda one: one.update(
                dict.fromkeys(("key", "context"), json.loads(files["manifest.json"])["key"])
            ),
            _part(files),
        )(files),
        "its manifest is that of",
    ),
    "a part of nothing": (
        lambda files: files.update(
            {
                path.replace(path.split("/")[1], "9" * 64): body
                for path, body in list(files.items())
                if "parts/" in path
            }
        ),
        "belongs to nothing",
    ),
}


@pytest.fixture(scope="module")
def packed(grid: Path, tmp_path_factory) -> dict[str, bytes]:
    """The files of a parcel: a module above another."""
    folder = tmp_path_factory.mktemp("packed")
    bundle.pack(Store(grid), key_of(grid, "stack"), folder, repo="ana/m")
    assert bundle.check(folder)
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_parcel_is_refused(packed, tmp_path, case: str) -> None:
    spoil, words = SPOILED[case]
    files = dict(packed)
    spoil(files)
    for name, body in files.items():
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(body)
    for folder in [tmp_path / "p", *(tmp_path / "p").glob("parts/*")]:
        reseal(folder)
    with pytest.raises(XittError, match=re.escape(words)):
        bundle.check(tmp_path / "p")


def test_a_spoiled_parcel_gets_no_folder(hub, packed, tmp_path) -> None:
    files = dict(packed)
    SPOILED["another digest"][0](files)
    hub.add("ana/m", files)
    ran = hub.xitt("pull", "hub:ana/m", "--store", tmp_path / "s", home=tmp_path / "home")
    assert "changed or damaged" in refused(ran) and list((tmp_path / "s").rglob("*")) == [
        tmp_path / "s" / "hub"
    ]


def test_results_that_can_not_be_scored_again(hub, grid, tmp_path) -> None:
    store = Store(grid)
    key = key_of(grid, "none")
    own = [one for one in store.results() if one.cell.composition == key]
    (tmp_path / "p").mkdir()
    bundle.pack(
        store, key, tmp_path / "p", repo="ana/m", publication=bundle.Publication(results=own)
    )
    path = tmp_path / "p" / "results.json"
    assert [replace(one, provenance={}, predictions="") for one in own] == bundle.stated(
        tmp_path / "p"
    )
    for change in (
        {"task": "nothing"},
        {"language": "xx"},
        {"split": "test; rm"},
        {"lengths": {"max_length": "[1]"}},
        {"lengths": 7},
    ):
        one = own[0].record()
        path.write_text(json.dumps([{**one, "cell": {**one["cell"], **change}}]))
        with pytest.raises(XittError, match=r"scored again|split"):
            bundle.stated(tmp_path / "p")
    broken = (
        {**own[0].record(), "headline": []},
        {**own[0].record(), "scores": None},
        {**own[0].record(), "cell": {**own[0].record()["cell"], "task": []}},
    )
    for text in (
        "{",
        "7",
        '[{"cell": 1}]',
        "[[]]",
        "[" * 200_000,
        *(json.dumps([one]) for one in broken),
    ):
        path.write_text(text)
        with pytest.raises(XittError, match="not results"):
            bundle.stated(tmp_path / "p")


def test_a_data_set_is_its_digests(grid, tmp_path) -> None:
    (tmp_path / "p").mkdir()
    bundle.pack(Store(grid), key_of(grid, "stack"), tmp_path / "p", repo="ana/m")
    path = next((tmp_path / "p" / "data").iterdir())
    rewrite(path, digest="../../../evil")
    with pytest.raises(XittError, match="not the one it is named after"):
        bundle.unpack(tmp_path / "p", Store(tmp_path / "s"))
    assert not (tmp_path / "s" / "modules").exists()
    path.unlink()
    key = bundle.unpack(tmp_path / "p", Store(tmp_path / "s"))
    exposure = Store(tmp_path / "s").load_module(key).manifest.exposure
    assert {
        "task": "",
        "language": "",
        "role": "unknown",
        "data": "",
    } in exposure, "its cells carry a star"
