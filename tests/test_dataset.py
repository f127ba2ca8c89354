"""Where rows come from: slices, samples, the two layouts of a data folder, gold, overrides, ids,
and the real files."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_xitt.data.dataset import READERS, Override, Rows, Sources, cut, parse_slice, sample
from adapters_xitt.errors import DataError, XittError
from adapters_xitt.tasks import TASKS

Row = dict[str, Any]


def pairs(path: Path, rows: list[tuple[str, ...]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(rows)
    return path


def lines(path: Path, found: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(found) + "\n", encoding="utf-8")
    return path


NLI = [
    (f"premise {n // 3}", f"hypothesis {n}", ("entailment", "neutral", "contradiction")[n % 3])
    for n in range(12)
]


# -- slices

runs = st.lists(st.integers(1, 6), max_size=12).map(
    lambda sizes: [
        {"id": f"{group}/{n}", "group": str(group)}
        for group, size in enumerate(sizes)
        for n in range(size)
    ]
)
scattered = st.lists(st.integers(0, 4), max_size=30).map(
    lambda groups: [{"id": str(n), "group": str(group)} for n, group in enumerate(groups)]
)
bounds = st.one_of(st.integers(0, 120).map(lambda n: f"{n}%"), st.integers(0, 60).map(str))


@given(runs, bounds)
def test_two_slices_part_the_rows_and_no_group(rows, bound):
    low, high = cut(rows, None, bound), cut(rows, bound, None)
    assert low + high == rows
    assert not {row["group"] for row in low} & {row["group"] for row in high}


@given(runs, st.lists(bounds, min_size=2, max_size=2))
def test_a_slice_in_the_middle_lies_between_the_others(rows, found):
    start, stop = sorted(found, key=lambda bound: len(cut(rows, None, bound)))
    assert cut(rows, None, start) + cut(rows, start, stop) + cut(rows, stop, None) == rows
    if len(cut(rows, None, start)) < len(cut(rows, None, stop)):
        assert cut(rows, stop, start) == []


@given(st.integers(0, 40), st.integers(0, 100))
def test_rows_without_neighbours_are_cut_where_the_bound_says(count, share):
    rows = [{"id": str(n), "group": str(n)} for n in range(count)]
    assert len(cut(rows, None, f"{share}%")) == count * share // 100
    assert cut(rows, None, str(share)) == rows[:share]


@given(runs, st.integers(0, 100))
def test_a_bound_moves_up_and_by_less_than_a_group(rows, share):
    at, moved = len(rows) * share // 100, len(cut(rows, None, f"{share}%"))
    assert at <= moved and len({row["group"] for row in rows[max(at - 1, 0) : moved]}) <= 1


@given(scattered, bounds)
def test_two_slices_part_no_group_that_recurs(rows, bound):
    low, high = cut(rows, None, bound), cut(rows, bound, None)
    assert sorted(row["id"] for row in low + high) == sorted(row["id"] for row in rows)
    assert not {row["group"] for row in low} & {row["group"] for row in high}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("dev", ("dev", None, None)),
        ("dev[:80%]", ("dev", None, "80%")),
        ("dev[80%:]", ("dev", "80%", None)),
        ("train[:500]", ("train", None, "500")),
        ("train[10%:20]", ("train", "10%", "20")),
        ("dev[:]", ("dev", None, None)),
    ],
)
def test_a_reference_is_read(text, found):
    assert parse_slice(text) == found


@pytest.mark.parametrize(
    "text", ["", "dev[", "dev[80%]", "dev[-5:]", "dev[:5.5%]", "dev[:5] ", "Dev", "dev[5:1:2]"]
)
def test_a_reference_that_is_none_is_refused_with_examples(text):
    with pytest.raises(XittError, match=r"write 'dev', 'dev\[:80%\]'"):
        parse_slice(text)


# -- samples


@given(
    st.sets(st.text(max_size=5), max_size=30).map(sorted),
    st.integers(0, 30),
    st.integers(0, 30),
    st.randoms(),
)
def test_samples_are_nested_and_blind_to_order(ids, a, b, random):
    small, large = sorted((a, b))
    rows: list[Row] = [{"id": name} for name in ids]
    assert len(sample(rows, large)) == min(large, len(rows))
    chosen = [row["id"] for row in sample(rows, small)]
    assert set(chosen) <= {row["id"] for row in sample(rows, large)}
    assert chosen == [name for name in ids if name in set(chosen)]  # in file order
    random.shuffle(rows)
    assert {row["id"] for row in sample(rows, small)} == set(chosen)


def test_a_sample_is_the_same_in_every_version():
    rows = [{"id": f"train/{n}"} for n in range(100)]
    assert [row["id"] for row in sample(rows, 4)] == [
        "train/15",
        "train/39",
        "train/42",
        "train/92",
    ]


# -- files


def test_the_tree_of_xtreme_is_found_in_a_folder_or_is_the_folder(tmp_path):
    for split in ("dev", "test"):
        pairs(tmp_path / "a" / "xtreme" / "xnli" / f"{split}-de.tsv", NLI)
        pairs(tmp_path / "b" / "xnli" / f"{split}-de.tsv", NLI)
    inside, itself = (Sources(tmp_path / name) for name in "ab")
    for read in (
        lambda sources: sources.select(TASKS["xnli"], "de", most=None),
        lambda sources: sources.test(TASKS["xnli"], "de"),
    ):
        one, two = read(inside), read(itself)
        assert (one.rows, one.digest, len(one.rows)) == (two.rows, two.digest, len(NLI))
    assert inside.test(TASKS["xnli"], "de").file == tmp_path / "a/xtreme/xnli/test-de.tsv"
    pairs(tmp_path / "b" / "xtreme" / "xnli" / "test-de.tsv", NLI[:3])
    assert len(itself.test(TASKS["xnli"], "de").rows) == 3, "of two the first pattern is read"


def test_labels_kept_apart_are_found(tmp_path):
    blank = [(a, b) for a, b, _ in NLI]
    pairs(tmp_path / "xtreme/xnli/test-de.tsv", blank)
    with pytest.raises(DataError, match=r"test-de\.tsv:1: .*gold file"):
        Sources(tmp_path).test(TASKS["xnli"], "de")
    lines(tmp_path / "xtreme_labels/xnli/test-de.tsv", [label for *_, label in reversed(NLI)])
    order = TASKS["xnli"].labels
    want = [order.index(label) for *_, label in reversed(NLI)]
    assert [row["label"] for row in Sources(tmp_path).test(TASKS["xnli"], "de").rows] == want
    mine = lines(tmp_path / "mine.tsv", ["neutral"] * len(NLI))
    for pattern in ("mine.tsv", str(mine)):
        sources = Sources(tmp_path, {"xnli": Override(gold={"test": pattern})})
        assert {row["label"] for row in sources.test(TASKS["xnli"], "de").rows} == {
            order.index("neutral")
        }
    missing = Sources(tmp_path, {"xnli": Override(gold={"test": "none-{lang}.tsv"})})
    with pytest.raises(DataError, match=r"none-de\.tsv: no such file; xnli test in 'de'"):
        missing.test(TASKS["xnli"], "de")


def test_a_missing_file_is_named_with_every_place_it_may_lie_in(tmp_path):
    with pytest.raises(DataError) as caught:
        Sources(tmp_path).test(TASKS["xnli"], "de")
    for place in ("xtreme/xnli/test-de.tsv", "xnli/test-de.tsv"):
        assert str(tmp_path / place) in str(caught.value)
    with pytest.raises(XittError, match="XITT_DATA"):
        Sources(None).test(TASKS["xnli"], "de")


def test_a_split_that_a_task_has_not_is_told_with_those_it_has(tmp_path):
    pairs(tmp_path / "xtreme/xnli/dev-en.tsv", NLI)
    sources = Sources(tmp_path, {"xnli": Override(selection="validation")})
    with pytest.raises(XittError, match=r"no split 'validation'; it has dev, test"):
        sources.select(TASKS["xnli"], "en", most=None)


def test_every_task_has_a_reader_and_another_is_told_by_name():
    own = {form.reader for task in TASKS.values() for form in task.formats.values()}
    assert own | {task.reader for task in TASKS.values()} <= set(READERS)
    task = replace(TASKS["xnli"], reader="nowhere")
    with pytest.raises(XittError, match=r"task xnli: .*no reader 'nowhere'"):
        Sources(None).test(task, "de")


def test_a_slice_without_rows_is_told(tmp_path):
    path = pairs(tmp_path / "xtreme/xnli/dev-en.tsv", NLI)
    with pytest.raises(DataError, match=rf"{path}: no row is left in xnli dev\[100%:\] \(en\)"):
        Sources(tmp_path, {"xnli": Override(selection="dev[100%:]")}).select(
            TASKS["xnli"], "en", most=None
        )


# -- what a recipe overrides


def test_a_recipe_names_files_splits_and_options(tmp_path):
    pairs(tmp_path / "data/xtreme/xnli/dev-en.tsv", NLI)
    own = pairs(tmp_path / "own/de.tsv", [("x", label, "a b", "c d") for *_, label in NLI])
    override = Override(
        files={"test": str(own.with_name("{lang}.tsv"))},
        train="dev[:6]",
        options={"columns": (2, 3, 1), "quoting": False},
    )
    plain, sources = Sources(tmp_path / "data"), Sources(tmp_path / "data", {"xnli": override})
    test = sources.test(TASKS["xnli"], "de")
    assert (test.file, len(test.rows), test.rows[0]["a"]) == (own, len(NLI), "a b")
    # options belong to the reader of every file of the task
    with pytest.raises(DataError, match="columns"):
        sources.train(TASKS["xnli"], "en")
    sliced = Sources(tmp_path / "data", {"xnli": Override(train="dev[:6]", selection="dev[6:]")})
    train, select = (
        found.rows
        for found in (
            sliced.train(TASKS["xnli"], "en", most=4),
            sliced.select(TASKS["xnli"], "en", most=None),
        )
    )
    assert (len(train), len(select)) == (4, 6)
    assert not {row["id"] for row in train} & {row["id"] for row in select}
    assert [plain.training_task(TASKS[name]) for name in ("xnli", "pawsx", "xquad")] == [
        "mnli",
        "pawsx",
        "squad",
    ]
    assert sliced.training_task(TASKS["xnli"]) == "xnli", (
        "a recipe that names a training split trains the task itself"
    )
    assert len(sliced.select(TASKS["xnli"], "en", most=2).rows) == 2


def test_a_test_split_can_be_another(tmp_path):
    pairs(tmp_path / "xnli/dev-de.tsv", NLI)
    rows = Sources(tmp_path, {"xnli": Override(test="dev[:50%]")}).test(TASKS["xnli"], "de")
    assert (rows.split, len(rows.rows)) == ("dev[:50%]", 6)
    assert rows.data_set().split == "dev[:50%]" and len(rows.data_set().ids) == 6


def test_a_digest_is_of_the_rows(tmp_path):
    pairs(tmp_path / "xnli/dev-en.tsv", NLI)
    first = Sources(tmp_path).select(TASKS["xnli"], "en", most=None)
    assert (
        Sources(tmp_path, {"xnli": Override(selection="dev[:]")})
        .select(TASKS["xnli"], "en", most=99)
        .digest
        == first.digest
    )
    assert (
        Sources(tmp_path, {"xnli": Override(selection="dev[:6]")})
        .select(TASKS["xnli"], "en", most=None)
        .digest
        != first.digest
    )
    pairs(tmp_path / "xnli/dev-en.tsv", [*NLI[:-1], (NLI[-1][0], NLI[-1][1] + "!", NLI[-1][2])])
    assert Sources(tmp_path).select(TASKS["xnli"], "en", most=None).digest != first.digest


# -- ids


def test_parallel_tasks_share_ids_over_languages_and_others_do_not(tmp_path):
    found: dict[str, list[set[str]]] = {}
    for language in ("de", "fr"):
        pairs(tmp_path / f"xnli/test-{language}.tsv", NLI)
        pairs(
            tmp_path / f"pawsx/test-{language}.tsv",
            [(a, b, "01"[n % 2]) for n, (a, b, _) in enumerate(NLI)],
        )
        lines(tmp_path / f"udpos/test-{language}.tsv", ["the\tDET", "cat\tNOUN", "", "it\tPRON"])
        lines(tmp_path / f"tatoeba/{language}-en.{language}", ["x", "y"])
        lines(tmp_path / f"tatoeba/{language}-en.en", ["b", "a"])
        for name in ("xnli", "pawsx", "udpos", "tatoeba"):
            rows = Sources(tmp_path).test(TASKS[name], language).rows
            assert all(row["id"].startswith(f"{TASKS[name].origin}/") for row in rows)
            found.setdefault(name, []).append({row["id"] for row in rows})
    assert {name: one == two for name, (one, two) in found.items() if TASKS[name].parallel} == {
        "xnli": True,
        "pawsx": True,
    }
    assert {name: one & two for name, (one, two) in found.items() if not TASKS[name].parallel} == {
        "udpos": set(),
        "tatoeba": set(),
    }


def test_splits_of_a_task_share_no_id(tmp_path):
    for split in ("dev", "test"):
        pairs(tmp_path / f"xnli/{split}-en.tsv", NLI)
    sources = Sources(tmp_path)
    dev, test = sources.select(TASKS["xnli"], "en", most=None), sources.test(TASKS["xnli"], "en")
    assert not dev.data_set().ids & test.data_set().ids
    assert dev.data_set().texts == test.data_set().texts


# -- the origins' files

# Files of the shared folder that have no labels anywhere; every other one that is there must be
# read.
UNLABELLED = {("pawsx", "test"), ("panx", "test")}


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.reader in READERS])
def test_every_language_that_has_files_is_read(data_dir, name):
    task, sources, read = TASKS[name], Sources(data_dir), 0
    for language in task.known:
        for split, get in (
            ("test", sources.test),
            (parse_slice(task.train)[0], sources.train),
            (parse_slice(task.selection)[0], lambda *words: sources.select(*words, most=None)),
        ):
            try:
                if sources.find(task, split, language) is None:
                    continue
            except DataError:
                continue
            if (name, split) in UNLABELLED and sources.find(
                task, split, language, gold=True
            ) is None:
                with pytest.raises(DataError, match="gold file"):
                    get(task, language)
                continue
            rows = get(task, language)
            read += 1
            _check(rows)
    if not read:
        pytest.skip(f"no labelled files of {name} in {data_dir}")


def _check(rows: Rows) -> None:
    ids = [row["id"] for row in rows.rows]
    assert ids and len(set(ids)) == len(ids), rows.file
    labels = range(len(rows.task.labels))
    for row in rows.rows:
        if rows.task.kind == "pair":
            assert row["a"] and row["b"] and row["label"] in labels
        elif rows.task.kind == "tagging":
            assert len(row["words"]) == len(row["tags"]) and set(row["tags"]) <= set(labels)
        elif rows.task.kind == "qa":
            assert row["answers"] or rows.task.options.get("impossible"), row["id"]
        elif rows.task.kind == "choice":
            assert row["prompt"] and row["label"] in range(len(row["choices"]))
        elif rows.task.kind == "mlm":
            assert row["text"]
        elif rows.task.kind in ("mining", "ranking"):
            assert row["text"] and row["side"] in ("query", "candidate")
            assert ("gold" in row) == (row["side"] == "query")
        else:
            assert 0 <= row["gold"] < len(rows.rows)


@pytest.mark.parametrize(
    ("language", "three"),
    [
        ("de", "deu"),
        ("ar", "ara"),
        ("es", "spa"),
        ("fi", "fin"),
        ("sw", "swh"),
        ("te", "tel"),
        ("zh", "cmn"),
    ],
)
def test_tatoeba_pairs_are_those_of_the_originals(data_dir, language, three):
    originals = sorted(data_dir.glob(f"tatoeba/**/tatoeba.{three}-eng.{three}"))
    if not originals:
        pytest.skip(f"no tatoeba.{three}-eng.{three} below {data_dir}/tatoeba")
    task = TASKS["tatoeba"]

    def gold(sources: Sources) -> dict[str, tuple[str, str]]:
        """Id to query and its candidate."""
        rows = sources.test(task, language).rows
        return {row["id"]: (row["query"], rows[row["gold"]]["candidate"]) for row in rows}

    # the originals' folder is the root: XTREME's gold is not in it
    want = gold(
        Sources(
            originals[0].parent,
            {
                "tatoeba": Override(
                    files={"test": originals[0].name}, options={"other": f"tatoeba.{three}-eng.eng"}
                )
            },
        )
    )
    assert gold(Sources(data_dir, {"tatoeba": Override(options={"inverse": True})})) == want
    assert gold(Sources(data_dir)) != want, "the labels of the shared folder are inverse"
