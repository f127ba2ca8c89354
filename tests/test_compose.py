"""Expressions end to end: in recipes, on the command line, and fifty wrong ones."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest
from test_run import outcome, xitt

from adapters_xitt.errors import XittError
from adapters_xitt.modules import composition
from adapters_xitt.study.results import DONE, NOT_APPLICABLE
from adapters_xitt.study.store import Store

RECIPE = """# What do merges and sums of modules score beside the modes?
encoder: {encoder}
data: {{root: {root}}}
methods:
  - {{name: seq_bn, reduction: 4, learning_rate: 1.0e-2}}
  - {{name: lora, learning_rate: 1.0e-2}}
intermediates: [demo-nli]
targets: [demo-pairs, demo-pos, demo-retrieval]
modes: [none, sum, stack]
compositions:
  - demo-nli > target
  - 0.5*demo-nli + target
  - mean(demo-nli, target)
  - svd(demo-nli + target, rank=4)
  - ties(demo-nli, target, density=0.3)
  - dare(demo-nli, target, density=0.5, seed=3)
  - magnitude(demo-nli, 2*target)
  - search(demo-nli, target)
  - fuse(demo-nli, target)
  - $lang > target
shared_start: true
languages: [en, de]
seeds: [1]
lengths: {{max_length: 40, stride: 8, question: 8}}
training: {{batch_size: 8, max_steps: 6, evaluate_every: 3, selection_examples: 6, tokens: 160}}
"""
LENGTHS = ("--set", "lengths={max_length: 40, stride: 8, question: 8}")
TRAINED = (
    *LENGTHS,
    "--set",
    "training={batch_size: 8, max_steps: 4, evaluate_every: 2, selection_examples: 6}",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pico_dir, pico_world) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("compose")
    recipe, root = folder / "composed.yaml", shutil.copytree(pico_world, folder / "data")
    for language in ("en", "de"):
        (root / "text").mkdir(exist_ok=True)
        (root / "text" / f"{language}.txt").write_text(
            "\n".join(
                f"{n} the {word} cat sees a tree"
                for n in range(8)
                for word in "red blue green small large".split()
            )
        )
    recipe.write_text(RECIPE.format(encoder=pico_dir, root=root))
    xitt("run", recipe, "--store", folder / "store", "--device", "cpu")
    store = Store(folder / "store")
    names = {"seq_bn": "", "lora": "low-"}
    for one in store.manifests():
        if one.merge is None and one.method["name"] in names and one.context == one.key:
            store.give_name(
                names[one.method["name"]] + one.trained_on.replace("@", "-").removeprefix("demo-"),
                one.key,
            )
    return recipe, store.root


def rows(store: Path) -> dict[tuple, dict]:
    entries = json.loads((store / "runs" / "composed" / "grid.json").read_text())["entries"]
    return {
        (
            entry["method"].partition("(")[0],
            entry["intermediate"],
            entry["mode"],
            entry["target"],
            entry["language"],
        ): entry
        for entry in entries
    }


def test_every_expression_of_a_recipe_is_a_row_or_says_why_not(finished) -> None:
    found = rows(finished[1])
    assert {entry["status"] for entry in found.values()} == {DONE, NOT_APPLICABLE}
    done = {
        (method, text, target)
        for (method, text, mode, target, _), entry in found.items()
        if mode == "composed" and entry["status"] == DONE
    }
    updates = {
        "0.5*demo-nli + target",
        "svd(demo-nli + target, rank=4)",
        "ties(demo-nli, target, density=0.3)",
        "dare(demo-nli, target, density=0.5, seed=3)",
        "magnitude(demo-nli, 2*target)",
        "search(demo-nli, target)",
    }
    both = {"mean(demo-nli, target)", "fuse(demo-nli, target)"}
    for target in ("demo-pairs", "demo-pos"):
        assert {
            text for method, text, one in done if (method, one) == ("lora", target)
        } == updates | both
        assert {text for method, text, one in done if (method, one) == ("seq_bn", target)} == {
            *both,
            "demo-nli > target",
            "$lang > target",
        }
    assert "0.5*demo-nli + target" in {
        text for method, text, one in done if (method, one) == ("lora", "demo-retrieval")
    }
    for (_, text, mode, _, _), entry in found.items():
        if mode == "composed" and entry["status"] == NOT_APPLICABLE:
            assert len(entry["reason"]) > 20, text
            assert not re.search("[0-9a-f]{64}", entry["reason"]), "names are people's"


def test_merged_modules_tell_their_error(finished) -> None:
    merged = [one for one in Store(finished[1]).manifests() if one.merge]
    assert {one.merge["expression"].partition("(")[0] for one in merged} >= {
        "mean",
        "svd",
        "ties",
        "dare",
        "magnitude",
        "search",
    }
    for one in merged:
        if one.method["name"] == "seq_bn":
            assert one.merge["errors"] == {} and one.merge["expression"].startswith("mean(")
            continue
        errors = one.merge["errors"]
        assert set(errors) == {
            *(f"{layer}.{place}" for layer in range(4) for place in ("query", "value")),
            "all",
        }
        exact = one.merge["expression"].startswith(("mean", "search"))
        assert errors["all"] < 1e-6 if exact else errors["all"] > 1e-3
        assert {exposure["task"] for exposure in one.exposure} >= {"demo-nli"}, (
            "what the parts have seen, it has seen"
        )


def test_a_run_of_expressions_is_the_same_again(finished, tmp_path) -> None:
    recipe, store = finished
    xitt("run", recipe, "--store", tmp_path / "s", "--device", "cpu")
    assert outcome(tmp_path / "s") == outcome(store)
    printed = " ".join(xitt("plan", recipe, "--store", store).split())
    assert re.search(r"To do: 0 of \d+ modules, 0 of \d+ cells", printed)


def run(*words: object, store: Path, code: int = 0) -> str:
    """What the console script prints, on a store with its data beside it."""
    return xitt(
        *words[:1],
        "--store",
        store,
        "--data",
        store.parent / "data",
        "--device",
        "cpu",
        *words[1:],
        code=code,
    )


def scored(store: Path, *words: object) -> dict[str, tuple]:
    """Cells by composition, of a store that has no other."""
    shutil.rmtree(store / "results", ignore_errors=True)
    run(*words, store=store)
    return {one.cell.composition: one for one in Store(store).results()}


@pytest.fixture
def copy(finished, tmp_path) -> Path:
    shutil.copytree(finished[1].parent / "data", tmp_path / "data")
    return shutil.copytree(finished[1], tmp_path / "store")


def test_saved_is_what_it_was(copy) -> None:
    """A sum made one module, and a merge, score to the last prediction's rounding what the
    expression scores."""
    for text, name in (
        ("0.7*low-nli + low-pos", "summed"),
        ("svd(low-nli + low-pos, rank=5)", "cut"),
    ):
        (before,) = scored(
            copy, "compose", text, "--evaluate", "demo-pos", "--language", "de", *LENGTHS
        ).values()
        shown = run("compose", text, "--save", name, store=copy)
        assert name in shown and "expression" in shown
        (after,) = scored(
            copy, "compose", name, "--evaluate", "demo-pos", "--language", "de", *LENGTHS
        ).values()
        assert after.scores == pytest.approx(before.scores, abs=1e-6)
        assert after.cell.composition == Store(copy).names()[name]
    assert "only these add up to one module" in run(
        "compose", "nli > pos", "--save", "no", store=copy, code=2
    )
    assert "no" not in Store(copy).names()
    for words in (
        ("--save", "No Name"),
        ("--save", "../x"),
        ("--save", "none"),
        ("--train", "demo-pos", "--save", "a/b"),
    ):
        before = len(Store(copy).manifests())
        assert "is made of a-z" in run(
            "compose", "0.7*low-nli + low-pos", *words, store=copy, code=2
        )
        assert len(Store(copy).manifests()) == before, "told before it costs anything"


def test_what_is_open_is_trained(copy) -> None:
    """A fusion, a search, and a target on top; each then stands for itself."""
    printed = run("compose", "fuse(nli, pos)", store=copy)
    assert "still to be trained" in printed and "--train" in printed
    printed = run(
        "compose", "fuse(nli, pos)", "--train", "demo-pos", "--save", "both", *TRAINED, store=copy
    )
    assert "whole: both(nli, pos)" in printed
    assert "f1" in run(
        "evaluate", "both(nli, pos)", "demo-pos", "--language", "de", *LENGTHS, store=copy
    )
    assert "accuracy" in run(
        "evaluate", "both(nli, pos) > pairs", "demo-pairs", "--language", "de", *LENGTHS, store=copy
    )
    printed = run(
        "compose",
        "search(low-nli, low-pairs)",
        "--train",
        "demo-pairs",
        "--save",
        "found",
        *TRAINED,
        store=copy,
    )
    assert "whole: found" in printed
    manifest = Store(copy).load_module(Store(copy).names()["found"]).manifest
    tried, best = manifest.metrics["tried"], manifest.metrics["score"]
    assert best == max(tried.values()) >= tried["0 1"], (
        "never worse than the last part alone, on the selection split"
    )
    assert {one["role"] for one in manifest.exposure} == {"trained", "selected"}
    printed = run(
        "compose",
        "0.5*low-nli + low-pos",
        "--train",
        "demo-pairs",
        "--save",
        "top",
        *TRAINED,
        store=copy,
    )
    assert "whole: 0.5*low-nli + low-pos + top" in printed
    top = Store(copy).load_module(Store(copy).names()["top"]).manifest
    assert composition.weights(composition.parse(top.context)) == {
        Store(copy).names()["low-nli"]: 0.5,
        Store(copy).names()["low-pos"]: 1.0,
        top.key: 1.0,
    }
    assert "accuracy" in run(
        "evaluate", "top", "demo-pairs", "--language", "de", *LENGTHS, store=copy
    )


def test_a_mean_averages_the_heads_that_started_alike(copy) -> None:
    """Two modules of one task and seed: their mean's head is the mean of theirs; a sum among the
    parts leaves the last part's head."""
    encoder = next(one.encoder_name for one in Store(copy).manifests())
    for name, rate in (("one", "1e-3"), ("two", "1e-2")):
        run(
            "train",
            "demo-pairs",
            "training.max_steps=4",
            "lengths.max_length=40",
            "--encoder",
            encoder,
            "--method",
            f"lora(learning_rate={rate})",
            "--name",
            name,
            store=copy,
        )
    stored = Store(copy)
    for text, name in (("mean(one, 3*two)", "both"), ("mean(low-nli + one, two)", "mixed")):
        run("compose", text, "--save", name, store=copy)
    one, two, both, mixed = (
        stored.load_module(stored.names()[name]) for name in ("one", "two", "both", "mixed")
    )
    (space,) = one.manifest.heads
    assert set(both.manifest.heads) == {space} and set(mixed.manifest.heads) == {
        space,
        *stored.load_module(stored.names()["low-nli"]).manifest.heads,
    }
    for name, value in both.part(f"head.{space}").items():
        wanted = (one.part(f"head.{space}")[name] + 3 * two.part(f"head.{space}")[name]) / 4
        assert float((value - wanted).abs().max()) < 1e-6 and not bool(
            (value == two.part(f"head.{space}")[name]).all()
        )
        assert bool((mixed.part(f"head.{space}")[name] == two.part(f"head.{space}")[name]).all())


def test_a_base_is_more_than_its_names(copy) -> None:
    """What is trained above 0.1*a is another module than what is trained above 0.9*a, or above
    a."""
    for number in ("0.1*", "0.9*", ""):
        name = f"top{number.strip('*').replace('.', '')}"
        run(
            "compose",
            f"{number}low-nli",
            "--train",
            "demo-pairs",
            "--save",
            name,
            *TRAINED,
            store=copy,
        )
    names, stored = Store(copy).names(), Store(copy)
    keys = [names[name] for name in ("top01", "top09", "top")]
    assert len(set(keys)) == 3
    bases = [
        composition.weights(composition.parse(stored.load_module(key).manifest.context))
        for key in keys
    ]
    assert [own[names["low-nli"]] for own in bases] == [0.1, 0.9, 1.0]


def test_a_fusion_stands_over_what_it_was_trained_on(copy) -> None:
    for prefix in ("", "low-"):
        run(
            "compose",
            f"fuse({prefix}nli, {prefix}pairs)",
            "--train",
            "demo-pairs",
            "--save",
            f"{prefix}f",
            *TRAINED,
            store=copy,
        )
        assert "accuracy" in run(
            "evaluate",
            f"{prefix}f({prefix}nli, {prefix}pairs)",
            "demo-pairs",
            "--language",
            "de",
            *LENGTHS,
            store=copy,
        )
        for wrong in (
            f"{prefix}f({prefix}pairs, {prefix}nli)",
            f"{prefix}f({prefix}nli, {prefix}pos)",
            f"{prefix}f({prefix}nli)",
        ):
            for command in (
                ("compose", wrong),
                ("evaluate", wrong, "demo-pairs", "--language", "de", *LENGTHS),
            ):
                told = run(*command, store=copy, code=2)
                assert (
                    "in another order" in told
                    and f"write {prefix}f({prefix}nli, {prefix}pairs)" in told
                )


def test_a_merge_of_merges_tells_what_both_lost(copy) -> None:
    """The error is measured from the modules that were trained, not from what an inner merge left
    of them."""
    run(
        "compose",
        "2*ties(low-nli, low-pairs, density=0.2) + low-pos",
        "--save",
        "nested",
        store=copy,
    )
    stored = Store(copy)
    nested = stored.load_module(stored.names()["nested"]).manifest
    inner = next(
        one
        for one in stored.manifests()
        if one.merge and one.merge["expression"].startswith("ties(demo-nli, demo-pairs")
    )
    assert nested.merge["errors"]["all"] > 0.3 * inner.merge["errors"]["all"] > 0.05
    assert nested.merge["of"].startswith("2*ties(")
    run("compose", "mean(mean(low-nli, low-pairs), low-pos)", "--save", "exact", store=copy)
    assert stored.load_module(stored.names()["exact"]).manifest.merge["errors"]["all"] < 1e-6


def test_a_name_that_moves_is_told_and_settings_go_either_way(copy) -> None:
    before = Store(copy).names()["low-nli"]
    told = run("compose", "0.5*low-pos", "--save", "low-nli", store=copy)
    assert f"low-nli stood for {before[:12]} until now" in told and Store(copy).has_module(before)
    for text in ("-0.5*low-nli + low-pos", "-(low-nli) + low-pos"):
        assert "sum of updates" in run("compose", text, store=copy)
        assert "f1" in run("evaluate", text, "demo-pos", "--language", "de", *LENGTHS, store=copy)
    assert "No such option" in run("compose", "low-pos", "-x", store=copy, code=2)
    assert "f1" in run(
        "evaluate",
        "low-pos",
        "demo-pos",
        "lengths={max_length: 40, stride: 8, question: 8}",
        "--language",
        "de",
        store=copy,
    )


def test_heads_are_named(copy) -> None:
    """Arithmetic takes the head of the last part that has one; --head names another, and is a cell
    of its own."""
    first = scored(
        copy, "evaluate", "low-pairs + low-nli", "demo-pairs", "--language", "de", *LENGTHS
    )
    (one,) = first.values()
    shutil.rmtree(copy / "results")
    run(
        "compose",
        "low-nli + low-pos",
        "--train",
        "demo-pairs",
        "--save",
        "other",
        *TRAINED,
        store=copy,
    )
    run(
        "evaluate",
        "low-pairs + low-nli",
        "demo-pairs",
        "--language",
        "de",
        *LENGTHS,
        "--head",
        "other",
        store=copy,
    )
    (two,) = Store(copy).results()
    assert one.cell.composition == two.cell.composition and one.cell.key != two.cell.key
    assert (one.cell.head, two.cell.head) == ("", Store(copy).names()["other"])
    assert one.predictions != two.predictions
    assert "needs a head" in run("evaluate", "low-pairs", "demo-pos", store=copy, code=2)


def test_lang_is_the_module_of_each_language(copy) -> None:
    found, asked = (
        Store(copy),
        (
            "--language",
            "en",
            "--language",
            "de",
            "--language",
            "fi",
            *LENGTHS,
        ),
    )
    for code in ("en", "de"):
        found.give_name(f"own-{code}", found.names()[f"text-{code}"])
    shutil.rmtree(copy / "results")
    told = run("evaluate", "$lang > pos", "demo-pos", "--lang", "own-{lang}", *asked, store=copy)
    assert "not applicable" in told
    by_language = {one.cell.language: one.cell.composition for one in found.results()}
    assert by_language == {
        code: f"{found.names()[f'text-{code}']} > {found.names()['pos']}" for code in ("en", "de")
    }
    told = run("evaluate", "$lang > pos", "demo-pos", *asked, store=copy, code=2)
    assert "lang-en" in told and "xitt train text@en" in told
    shown = run("compose", "$lang > pos", "--lang", "own-{lang}", store=copy)
    assert "a module each for de en" in " ".join(shown.split())


def test_bottlenecks_born_apart_have_no_mean(copy) -> None:
    run(
        "train",
        "demo-nli",
        "training.max_steps=2",
        "lengths.max_length=40",
        "--method",
        "seq_bn(reduction=4)",
        "--encoder",
        next(one.encoder_name for one in Store(copy).manifests()),
        "--name",
        "alone",
        store=copy,
    )
    told = run("compose", "mean(alone, pos)", store=copy, code=2)
    assert "born" in told and "shared_start" in told
    assert "mean" in run("compose", "mean(nli, pos)", store=copy)


def test_a_folder_stands_for_the_module_in_it(copy, tmp_path) -> None:
    """A module given out as a folder, named in an expression over another store, scores what it
    scored; a folder that lacks what makes it one, or is another library's, says so."""
    key, folder = Store(copy).names()["low-pos"], tmp_path / "given out"
    xitt("export", "low-pos", folder, "--form", "xitt", "--store", copy)
    encoder = Store(copy).load_module(key).manifest.encoder_name
    (before,) = scored(
        copy, "evaluate", "low-pos", "demo-pos", "--language", "de", *LENGTHS
    ).values()
    other = tmp_path / "s" / "store"
    shutil.copytree(copy.parent / "data", other.parent / "data")
    run(
        "evaluate",
        f'"{folder}"',
        "demo-pos",
        "--language",
        "de",
        "--encoder",
        encoder,
        *LENGTHS,
        store=other,
    )
    (after,) = Store(other).results()
    assert (after.scores, after.predictions, after.tag) == (
        before.scores,
        before.predictions,
        before.tag,
    )
    assert Store(other).load_module(after.cell.composition).manifest.source == "xitt"
    told = run(
        "evaluate",
        f'0.5*"{folder}" + "{folder.parent}/nothing"',
        "demo-pos",
        "--encoder",
        encoder,
        store=other,
        code=2,
    )
    assert "no such folder" in told
    xitt("export", "low-pos", tmp_path / "theirs", "--form", "peft", "--store", copy)
    told = run("compose", f"{tmp_path / 'theirs'}", "--encoder", encoder, store=other, code=2)
    assert "xitt import" in told and "--name NAME" in told


def test_modules_of_another_encoder_are_told(copy, tmp_path) -> None:
    import pico

    other = pico.write(tmp_path / "other", seed=8)
    run(
        "train",
        "demo-nli",
        "training.max_steps=2",
        "lengths.max_length=40",
        "--method",
        "seq_bn(reduction=4)",
        "--encoder",
        other,
        "--name",
        "foreign",
        store=copy,
    )
    told = run("compose", "pos > foreign", store=copy, code=2)
    assert "foreign: was made for the encoder" in told and "\n        ^" in told


# -- fifty wrong ones: the expression, where the caret stands, and what the answer says

WRONG = [
    ("", 0, "was expected"),
    ("   ", 3, "was expected"),
    (">", 0, "was expected"),
    ("nli >", 5, "was expected"),
    ("> nli", 0, "was expected"),
    ("nli > > pos", 6, "was expected"),
    ("(nli > pos", 10, r"'\)' is missing"),
    ("nli)", 3, r"unexpected '\)'"),
    ("nli pos", 4, "unexpected 'pos'"),
    ("nli, pos", 3, "unexpected ','"),
    ("nli & pos", 4, "unexpected '&'"),
    ("nli | pos", 4, r"unexpected '\|'"),
    ("nli / pos", 4, "unexpected '/'"),
    ("0.5 nli", 4, "unexpected 'nli'"),
    ("0.5*", 4, "was expected|unexpected|unknown"),
    ("nli*0.5", 3, "unexpected"),
    ("nli = pos", 4, "unexpected '='"),
    ("fuse()", 5, "was expected"),
    ("fuse(nli", 8, "',' or"),
    ("fuse(nli pos)", 9, "',' or"),
    ("fuse(none, nli)", 0, "'none' is none"),
    ("fuze(nli, pos)", 0, "did you mean"),
    ("mean(nli, -1*pos)", 0, "sum to nothing"),
    ("ties(nli, density=0)", 10, "above 0"),
    ("ties(nli, density=1.5)", 10, "up to 1"),
    ("ties(nli, densty=0.3)", 10, "Did you mean 'density'"),
    ("ties(nli, density=0.3, density=0.4)", 23, "stands twice"),
    ("ties(nli, density=high)", 18, "number"),
    ("ties(density=0.3, nli)", 18, "before the options"),
    ("svd(low-nli, rank=0)", 13, "1 or more"),
    ("svd(low-nli, rank=1.5)", 13, "whole number"),
    ("dare(low-nli, seed=-1)", 14, "whole number"),
    ("fuse(nli, rank=3)", 10, "no options"),
    ("mean(low-nli, rank=3)", 14, "unknown option"),
    ("2*none", 0, "nothing to multiply"),
    ("1e999*nli", 0, "no number"),
    ("$lagn > pos", 0, "Did you mean '.lang'"),
    ("$ > pos", 0, "unknown variable"),
    ('"nli > pos', 0, "unexpected"),
    ("(" * 41 + "nli" + ")" * 41, 40, "more than 40"),
    ("nly > pos", 0, "Did you mean 'nli'"),
    ("nli > poss", 6, "Did you mean 'pos'"),
    ("deadbeef > pos", 0, "unknown module"),
    ("search(low-nli, 0.5*low-pos)", 0, "finds the weights itself; write low-pos"),
    ("mean($lang, nli)", 0, "another module in each language"),
    ("dare(low-nli, seed=1e300)", 14, "at most"),
    ("ties(low-nli, rank=300000)", 14, "4,096 at most"),
    ("low-nli + nli", 0, "write low-nli > nli"),
    ("low-nli + nly", 10, "Did you mean 'nli'"),
    ("nli > nli", 0, "stands twice"),
    ("low-nli > low-pos", 0, r"write low-nli \+ low-pos"),
    ("nli + pos", 0, "write nli > pos"),
    ("low-nli + pos", 0, "write low-nli > pos"),
    ("0.5*nli", 4, "write nli"),
    ("2*(nli > pos)", 3, "write nli > pos"),
    ("ties(nli, pos)", 5, r"mean\(a, b\)"),
    ("svd(low-nli, pos)", 4, r"mean\(a, b\)"),
    ("fuse(nli, low-pos)", 5, "fuse modules of one method"),
    ("fuse(nli > pos, nli)", 5, "single modules"),
    ("mean(nli > pos, pos)", 5, "one method"),
    ("nli(low-nli, low-pos)", 4, "is no fusion"),
]


@pytest.mark.parametrize(
    ("text", "at", "says"), WRONG, ids=[text or "nothing" for text, *_ in WRONG]
)
def test_wrong_expressions_are_told_with_their_place_and_the_remedy(
    text, at, says, finished
) -> None:
    told = run("compose", "--", text, store=finished[1], code=2)
    assert "Traceback" not in told
    assert re.search(says, told, flags=re.IGNORECASE | re.DOTALL), told
    lines = told.splitlines()
    assert any(line == f"  {text}" for line in lines), told
    caret = lines[lines.index(f"  {text}") + 1]
    assert caret.strip() == "^" and caret.index("^") - 2 == at, told


def test_there_are_fifty() -> None:
    assert len(WRONG) >= 50 and len({text for text, *_ in WRONG}) == len(WRONG)


SOUND = [
    "nli > pos",
    "0.5*low-nli + low-pos",
    "ties(low-nli, 2*low-pos, density=0.3)",
    "fuse(nli, pos) > pairs",
    "svd(low-nli + low-pos, rank=4)",
    "$lang > (nli > pos)",
    "f(a, b)",
]


@pytest.mark.parametrize("seed", range(400))
def test_generated_mistakes_are_read_or_pointed_at(seed: int) -> None:
    """One to three characters of a sound expression dropped, doubled, swapped or replaced: it
    parses, and then its text form reads back as itself; or the error shows the text with a caret
    within it."""
    draw = random.Random(seed)
    text = draw.choice(SOUND)
    for _ in range(draw.randint(1, 3)):
        at = draw.randrange(len(text))
        text = (
            draw.choice(
                [
                    text[:at] + text[at + 1 :],
                    text[:at] + text[at] + text[at:],
                    text[:at] + draw.choice("()>+*-,=$\"'%0a. ") + text[at + 1 :],
                ]
            )
            or "?"
        )
    try:
        found = composition.parse(text)
    except XittError as error:
        first, shown, caret, *_ = str(error).split("\n")
        assert (
            shown == f"  {text}"
            and 0 <= caret.index("^") - 2 <= len(text)
            and "at character" in first
        )
    else:
        assert composition.parse(composition.show(found)) == found
