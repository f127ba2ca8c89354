"""Every mode from the console script: a module that was trained here, imported or pulled is
evaluated, explained, exported, pushed, pulled, verified and named in a recipe, with the numbers
that it had where it was trained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_shop import ModelHub
from test_run import xitt

from adapters_xitt.modules.serialization import read_manifest, read_module
from adapters_xitt.study.store import Store

TARGET, LANGUAGE = "demo-pairs", "de"
MODES = ("alone", "sequential", "low-sequential", "stack", "sum", "fused", "low-fused", "lang")
SOURCES = ("trained", "imported", "pulled")
# What each is trained after or over, here; `$lang` stands for lang-en when it is trained.
COMMANDS = {
    "nli": ("train", "demo-nli"),
    "low-nli": ("train", "demo-nli", "--method", "lora"),
    "lang-en": ("train", "demo-nli", "--seed", 2),
    "lang-de": ("train", "demo-nli", "--seed", 3),
    "alone": ("train", TARGET),
    "low-alone": ("train", TARGET, "--method", "lora"),
    "sequential": ("train", TARGET, "--after", "nli"),
    "low-sequential": ("train", TARGET, "--after", "low-nli"),
    "stack": ("train", TARGET, "--after", "nli", "--mode", "stack"),
    "sum": ("train", TARGET, "--after", "low-nli", "--mode", "sum"),
    "fused": ("compose", "fuse(nli, alone)", "--train", TARGET, "--save"),
    "low-fused": ("compose", "fuse(low-nli, low-alone)", "--train", TARGET, "--save"),
    "lang": ("train", TARGET, "--after", "lang-en", "--mode", "stack"),
}
LENGTHS = "lengths.max_length=40"
RECIPE = """encoder: {encoder}
data: {{root: {root}}}
methods: [{{name: seq_bn, reduction: 4}}]
intermediates: []
targets: [demo-pairs]
modes: [none]
compositions: ['{module}']
languages: [de]
lengths: {{max_length: 40}}
training: {{batch_size: 8, max_steps: 2, selection_examples: 6, tokens: 160}}
"""


@dataclass(frozen=True)
class Place:
    """The store in which all is trained, a hub, what is read, and a folder for more."""

    store: Path
    hub: ModelHub
    encoder: Path
    data: Path
    scratch: Path

    @property
    def machine(self) -> tuple[object, ...]:
        return ("--encoder", self.encoder, "--data", self.data, "--device", "cpu")


@pytest.fixture(scope="module")
def place(tmp_path_factory, pico_dir, pico_world) -> Iterator[Place]:
    """A store with a module of every mode, scored; a hub on the loopback that this very process
    asks."""
    from huggingface_hub import constants, file_download

    folder, hub = tmp_path_factory.mktemp("place"), ModelHub()
    here = Place(folder / "store", hub, pico_dir, pico_world, folder)
    hub.log_in(folder)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "ENDPOINT", hub.endpoint)
        patch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        patch.setenv("HF_TOKEN", "token-of-ana")
        for name, command in COMMANDS.items():
            named = () if command[-1] == "--save" else ("--name",)
            settings = (
                (
                    "training={batch_size: 8, max_steps: 2, selection_examples: 6, learning_rate:"
                    " 1.0e-2}"
                ),
                LENGTHS,
            )
            xitt(*command, *named, name, *settings, "--store", here.store, *here.machine)
        for name in MODES:
            evaluate(here, name, here.store)
        yield here
    hub.close()


def evaluate(
    place: Place, word: str, store: Path, language: str = LANGUAGE
) -> tuple[object, str, str]:
    """The scores, the digest of the predictions and the tag of an expression in a language, as the
    store keeps them."""
    before = {one.cell.key for one in Store(store).results()}
    printed = xitt(
        "evaluate", word, TARGET, LENGTHS, "--language", language, "--store", store, *place.machine
    )
    assert "accuracy" in printed
    stored = Store(store)
    if word in stored.names():
        context = read_manifest(stored.module_folder(stored.names()[word])).context
        (result,) = [
            one
            for one in stored.results()
            if (one.cell.composition, one.cell.language) == (context, language)
        ]
    else:
        (result,) = [one for one in stored.results() if one.cell.key not in before]
    return result.scores, result.predictions, result.tag


def arrive(place: Place, mode: str, source: str, folder: Path) -> tuple[str, Path]:
    """How a module is named where it has come to, and the store it is in."""
    if source == "trained":
        return mode, place.store
    if source == "imported":
        xitt("export", mode, folder / "given", "--store", place.store)
        xitt("import", folder / "given", "--name", "theirs", "--store", folder / "store")
        return "theirs", folder / "store"
    return push(place, mode, place.store, f"ana/{mode}"), folder / "store"


def push(place: Place, word: str, store: Path, repository: str) -> str:
    """Where a module then lies, with its commit."""
    printed = xitt("push", word, repository, "--store", store)
    commit = re.search(rf"xitt pull (hub:{repository}@[0-9a-f]{{40}})", printed)
    return commit[1]


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("mode", MODES)
def test_a_module_does_everywhere_what_it_did_where_it_was_trained(
    mode, source, place, tmp_path
) -> None:
    reference = evaluate(place, mode, place.store)
    word, store = arrive(place, mode, source, tmp_path)
    scores, predictions, tag = evaluate(place, word, store)
    assert (scores, predictions, tag) == reference, "evaluate"

    explained = xitt("compose", word, "--store", store, *place.machine)
    assert "runs as" in explained and "trained together with" not in explained

    xitt("export", word, tmp_path / "again", "--store", store)
    trained = Store(place.store).load_module(Store(place.store).names()[mode])
    exported = read_module(tmp_path / "again")
    assert exported.manifest.digest == trained.manifest.digest, "export"

    pushed = push(place, word, store, f"ana/{mode}-{source}")
    printed = xitt("verify", pushed, "--store", tmp_path / "third", *place.machine)
    assert "1 of 1 stated numbers hold" in printed and "holds: the same" in printed

    recipe = tmp_path / "named.yaml"
    recipe.write_text(
        RECIPE.format(encoder=place.encoder, root=place.data, module=tmp_path / "again")
    )
    xitt("plan", recipe, "--store", tmp_path / "fourth")
    xitt("run", recipe, "--store", tmp_path / "fourth", "--device", "cpu")
    grid = json.loads((tmp_path / "fourth" / "runs" / "named" / "grid.json").read_text())
    (entry,) = [one for one in grid["entries"] if one["mode"] == "composed"]
    assert (entry["status"], entry["scores"], entry["tag"]) == ("done", scores, tag), "recipe"


def test_a_language_module_is_swapped_for_that_of_the_language(place) -> None:
    """In the language of training `$lang > a` is a as it was trained; in another it is that
    language's."""
    trained = evaluate(place, "lang", place.store, "en")
    by_hand = evaluate(place, "lang-de > lang", place.store)
    results = {one.cell.key: one for one in Store(place.store).results()}
    xitt(
        "evaluate",
        "$lang > lang",
        TARGET,
        LENGTHS,
        "--language",
        "en",
        "--language",
        "de",
        "--store",
        place.store,
        *place.machine,
    )
    assert {one.cell.key for one in Store(place.store).results()} == set(results), "the very cells"
    assert by_hand[1] != trained[1]


def test_a_stored_module_is_trained_on(place, tmp_path) -> None:
    """A module that stands on another one is a parent like any: continued where it was pulled."""
    word = push(place, "sequential", place.store, "ana/parent")
    for mode in ("sequential", "stack"):
        xitt(
            "train",
            "demo-nli",
            "training.max_steps=1",
            LENGTHS,
            "--after",
            word,
            "--mode",
            mode,
            "--name",
            mode,
            "--store",
            tmp_path,
            *place.machine,
        )
        assert "accuracy" in xitt(
            "evaluate",
            mode,
            "demo-nli",
            LENGTHS,
            "--language",
            "de",
            "--store",
            tmp_path,
            *place.machine,
        )
