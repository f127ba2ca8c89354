"""What is asked is what is trained: languages and variants wherever a task to train on is named,
and no override that nothing reads."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from test_run import xitt

from adapters_xitt.data.dataset import Override, Sources
from adapters_xitt.data.exposure import Exposure
from adapters_xitt.errors import XittError
from adapters_xitt.study import planner, recipe
from adapters_xitt.study.store import Store
from adapters_xitt.tasks import task

SMALL = (
    "lengths.max_length=40",
    "training.max_steps=1",
    "training.batch_size=4",
    "training.selection_examples=4",
)


@pytest.fixture(scope="module")
def world(tmp_path_factory, pico_world: Path) -> Path:
    """The pico world with German training data for two tasks, other rows than the English, and
    plain Finnish text."""
    root = tmp_path_factory.mktemp("data") / "world"
    shutil.copytree(pico_world, root)
    for name in ("demo-nli", "demo-pairs"):
        for split in ("train", "dev"):
            with (root / name / f"{split}-en.tsv").open(newline="") as file:
                rows = [
                    [f"die {a}", f"und {b}", label]
                    for a, b, label in csv.reader(file, delimiter="\t")
                ]
            with (root / name / f"{split}-de.tsv").open("w", newline="") as file:
                csv.writer(file, delimiter="\t").writerows(rows)
    (root / "text").mkdir()
    (root / "text/fi.txt").write_text(
        "".join(f"the {n} cat sees a red tree near the house\n" for n in range(40))
    )
    return root


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("store")


def trained(store: Path, name: str) -> tuple[list[str], set[tuple[str, str]], set[str], str]:
    """A module's languages, what it has seen, in which languages its mixture is, and what it is
    called."""
    manifest = Store(store).load_module(Store(store).resolve(name)).manifest
    seen = {(row["task"], row["language"]) for row in manifest.exposure if Exposure(**row).data}
    return (
        manifest.languages,
        seen,
        {code for part in manifest.mixture["portions"] for code in part["languages"]},
        manifest.role.partition(",")[0],
    )


@pytest.mark.parametrize(
    ("words", "name", "task_name", "languages"),
    [
        (("demo-pairs", "tasks.demo-pairs.trained_in=[de]"), "demo-pairs@de", "demo-pairs", ["de"]),
        (("demo-pairs@de",), "demo-pairs@de", "demo-pairs", ["de"]),
        (("demo-nli@de+en",), "demo-nli@de+en", "demo-nli", ["de", "en"]),
        (("text@fi",), "text@fi", "text", ["fi"]),
        (("demo-nli@de:text",), "demo-nli@de:text", "demo-nli", ["de"]),
        (("demo-pos", "tasks.demo-pos.examples=8"), "demo-pos", "demo-pos", ["en"]),
    ],
)
def test_the_language_that_is_asked_is_trained_and_told(
    words, name, task_name, languages, store, world, pico_dir
):
    """The manifest's languages, mixture, exposure and role, and what is printed, are of the
    language that was asked."""
    printed = xitt(
        "train",
        *words,
        *SMALL,
        "--encoder",
        pico_dir,
        "--data",
        world,
        "--store",
        store,
        "--name",
        "made",
        "--device",
        "cpu",
    )
    assert trained(store, "made") == (
        languages,
        {(task_name, code) for code in languages},
        set(languages),
        name,
    )
    assert f"trained on {task_name} in " + " and ".join(languages) in " ".join(
        printed.split()
    ).replace(", ", " and ")


def test_composing_trains_on_portions_too(store, world, pico_dir) -> None:
    xitt(
        "train",
        "demo-nli",
        *SMALL,
        "--encoder",
        pico_dir,
        "--data",
        world,
        "--store",
        store,
        "--name",
        "below",
        "--device",
        "cpu",
    )
    xitt(
        "compose",
        "below",
        "--train",
        "demo-pairs@de",
        *SMALL,
        "--save",
        "above",
        "--encoder",
        pico_dir,
        "--data",
        world,
        "--store",
        store,
        "--device",
        "cpu",
    )
    languages, seen, _, _ = trained(store, "above")
    assert languages == ["de"] and seen == {("demo-pairs", "de"), ("demo-nli", "en")}


def document(pico_dir: Path, root: Path, **changes: object) -> dict[str, object]:
    return {
        "name": "t",
        "encoder": str(pico_dir),
        "methods": ["seq_bn"],
        "intermediates": [],
        "targets": ["demo-pairs"],
        "modes": ["none"],
        "languages": ["de"],
        "data": {"root": str(root)},
        **changes,
    }


def test_trained_on_and_language_modules_are_portions(world: Path, pico_dir: Path) -> None:
    """A target whose `trained_on` says a language is trained in it; language modules may be masked
    words of a task."""
    values = document(
        pico_dir,
        world,
        tasks={"demo-pairs": {"trained_on": "demo-pairs@de"}},
        modes=["none", "lang"],
        language_modules="demo-nli:text",
        languages=["en", "de"],
    )
    found = recipe.parse(values, source="test")
    made = planner.plan_recipe(found, planner.Inputs(found, world))
    own = next(
        job for job in made.train.values() if job.mixture.name == "demo-pairs" and not job.below
    )
    assert {(row.task, row.language) for row in own.exposure} == {("demo-pairs", "de")}
    modules = {
        job.mixture.name: job.mixture.portions[0]
        for job in made.train.values()
        if ":text" in job.mixture.name
    }
    assert {(part.variant, part.languages) for part in modules.values()} == {
        ("text", ("de",)),
        ("text", ("en",)),
    }


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"language_modules": "text@fi"}, "each language gets a module"),
        ({"language_modules": "texts"}, "Did you mean 'text'"),
        ({"tasks": {"demo-pairs": {"trained_on": "demo-pairs@xx"}}}, "unknown language 'xx'"),
        ({"tasks": {"demo-pairs": {"trained_on": "demo-nli@de"}}}, "another kind or other labels"),
        (
            {"intermediates": ["demo-nli"], "tasks": {"demo-nli": {"trained_in": ["de"]}}},
            "write demo-nli@de",
        ),
    ],
)
def test_languages_that_could_not_be_meant_are_told(changes, told, world, pico_dir) -> None:
    with pytest.raises(XittError, match=told):
        recipe.parse(document(pico_dir, world, **changes), source="test")


def test_a_file_is_of_one_language(tmp_path: Path) -> None:
    """SQuAD's own file is English, whatever language is asked; one that a recipe names is not read
    as two."""
    for name in ("squad/train-v1.1.json", "mine.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(
            '{"data": [{"title": "t", "paragraphs": [{"context": "a b", "qas": '
            '[{"id": "1", "question": "q", "answers": []}]}]}]}'
        )
    with pytest.raises(XittError, match=r"squad has files in en, none in es.*\{train@es: FILE\}"):
        Sources(tmp_path).whole(task("squad"), "train", "es")
    sources = Sources(tmp_path, {"squad": Override(files={"train": "mine.json"})})
    assert sources.whole(task("squad"), "train", "es").language == "es"
    with pytest.raises(XittError, match=r"would be read from it in 'es' and in 'de'.*train@de"):
        sources.whole(task("squad"), "train", "de")
    both = Sources(
        tmp_path, {"squad": Override(files={"train": "mine.json", "train@de": "mine.json"})}
    )
    assert [both.whole(task("squad"), "train", code).language for code in ("es", "de")] == [
        "es",
        "de",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ("train", "demo-nli", "targets=[demo-pos]"),
            "xitt train doesn't read targets: it trains TASK alone",
        ),
        (("train", "demo-nli", "seeds=[2]"), "doesn't read seeds: --seed says it"),
        (("train", "demo-nli", "methods=[lora]"), "doesn't read methods: --method says it"),
        (("train", "demo-nli", "examples=5"), "tasks.TASK.examples"),
        (
            ("train", "demo-nli", "tasks.demo-pos.examples=5"),
            "demo-pos takes no part, so nothing reads it",
        ),
        (
            ("train", "demo-nli", "tasks.demo-nli.test=dev"),
            "nothing reads test of demo-nli: it is trained on only",
        ),
        (
            ("train", "demo-nli@de", "tasks.demo-nli.trained_in=[en]"),
            "written with its name, demo-nli@de",
        ),
        (
            ("evaluate", "none", "demo-retrieval", "intermediates=[demo-nli]"),
            "doesn't read intermediates",
        ),
        (
            ("evaluate", "none", "demo-retrieval", "training.max_steps=3"),
            "doesn't read training: it trains nothing",
        ),
        (
            ("evaluate", "none", "demo-retrieval", "tasks.demo-nli.test=dev"),
            "What takes part: demo-retrieval",
        ),
        (("compose", "none", "sweep=[1, 2]"), "doesn't read sweep"),
        (
            ("plan", "RECIPE", "tasks.xnli.languages=[de]"),
            "xnli takes no part, so nothing reads it",
        ),
        (("plan", "RECIPE", "tasks.demo-nli.languages=[de]"), "it is trained on only"),
        (("plan", "RECIPE", "tasks.demo-nlo.examples=3"), "Did you mean"),
    ],
)
def test_an_override_that_nothing_reads_is_told(words, told, world, pico_dir, tmp_path) -> None:
    """With what reads such a key, before anything is made."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"encoder: {pico_dir}\ndata: {{root: {world}}}\nmethods: [seq_bn]\nintermediates:"
        " [demo-nli]\ntargets: [demo-pairs]\nlanguages: [de]\n"
    )
    machine = () if words[0] == "plan" else ("--encoder", pico_dir, "--data", world)
    printed = xitt(
        *(path if word == "RECIPE" else word for word in words),
        *machine,
        "--store",
        tmp_path / "s",
        code=2,
    )
    assert told in " ".join(printed.split()) and not (tmp_path / "s" / "modules").exists()


def test_overrides_that_are_read_pass(world, pico_dir, tmp_path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        f"encoder: {pico_dir}\ndata: {{root: {world}}}\nmethods: [seq_bn]\nintermediates:"
        " [demo-nli]\ntargets: [demo-pairs]\nlanguages: [de]\n"
    )
    printed = xitt(
        "plan",
        path,
        "tasks.demo-nli.examples=20",
        "tasks.demo-pairs.trained_in=[de]",
        "seeds=[1,2]",
        "tasks.demo-pairs.languages=[fi]",
        "training.max_steps=2",
        "--store",
        tmp_path / "s",
    )
    assert "demo-pairs" in printed
