"""Law 8 where ids say nothing: the smallest files in which test items reach training under other
names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapters_xitt import tasks
from adapters_xitt.data import exposure
from adapters_xitt.data.contamination import Contamination
from adapters_xitt.data.dataset import Override, Sources
from adapters_xitt.data.exposure import DataSet, Index
from adapters_xitt.study import planner, recipe
from adapters_xitt.study.results import BLOCKED

WORDS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen".split()
)


def sentence(language: str, name: str, n: int) -> str:
    """A sentence that no other name or number has, in words of the language."""
    return (
        " ".join(f"{WORDS[int(digit)]}-{language}" for digit in f"{n:03d}")
        + f" {name} {language} words here"
    )


def pairs(path: Path, name: str, languages: tuple[str, ...], numbers: range) -> None:
    """Pairs in XTREME's layout, a premise three times in a row as in XNLI."""
    for language in languages:
        text = "".join(
            f"{sentence(language, name, n // 3 * 3)}\t{sentence(language, f'{name}-b', n)}\t"
            f"{('contradiction', 'entailment', 'neutral')[n % 3]}\n"
            for n in numbers
        )
        written(Path(str(path).format(lang=language)), text)


def tagged(path: Path, names: list[str], *, conllu: bool, tag: str) -> None:
    """Sentences as CoNLL-U, or as Universal NER's table."""

    def line(at: int, word: str) -> str:
        return f"{at}\t{word}\t_\t{tag}\tNN" + "\t_" * 5 if conllu else f"{at}\t{word}\t{tag}\t-\t-"

    written(
        path,
        "\n\n".join(
            "\n".join(line(at, word) for at, word in enumerate(name.split(), 1)) for name in names
        )
        + "\n",
    )


def xtreme_tags(path: Path, names: list[str], tag: str = "NOUN") -> None:
    written(
        path,
        "\n\n".join("\n".join(f"{word}\t{tag}" for word in name.split()) for name in names) + "\n",
    )


def squad(path: Path, language: str, name: str, ids: list[str]) -> None:
    paragraphs = [
        {
            "context": sentence(language, f"{name}-context", n // 2),
            "qas": [
                {
                    "id": own,
                    "question": sentence(language, f"{name}-question", n),
                    "answers": [
                        {
                            "text": "words",
                            "answer_start": (
                                sentence(language, f"{name}-context", n // 2).index("words")
                            ),
                        }
                    ],
                }
            ],
        }
        for n, own in enumerate(ids)
    ]
    written(
        path,
        json.dumps(
            {
                "data": [
                    {"title": f"{name} {n}", "paragraphs": [one]}
                    for n, one in enumerate(paragraphs)
                ]
            }
        ),
    )


def copa(path: Path, language: str, name: str, count: int) -> None:
    written(
        path,
        "".join(
            json.dumps(
                {
                    "premise": sentence(language, name, n),
                    "choice1": f"{language} a {n}",
                    "choice2": f"{language} b {n}",
                    "question": ("cause", "effect")[n % 2],
                    "idx": n,
                    "label": n % 2,
                }
            )
            + "\n"
            for n in range(count)
        ),
    )


def written(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Every file of the cases."""
    root = tmp_path_factory.mktemp("data")
    xnli = ("en", "de", "sw")
    pairs(root / "xtreme/xnli/test-{lang}.tsv", "test", xnli, range(30))
    pairs(root / "xtreme/xnli/dev-{lang}.tsv", "dev", xnli, range(30))
    pairs(root / "xtreme/xnli/train-{lang}.tsv", "mnli", ("en",), range(30))
    pairs(root / "mnli/dev-{lang}.tsv", "mnli-dev", ("en",), range(12))
    test = (root / "xtreme/xnli/test-en.tsv").read_text().splitlines(keepends=True)
    written(root / "mixed.tsv", (root / "xtreme/xnli/train-en.tsv").read_text() + "".join(test[:6]))
    for split in ("test", "dev"):
        pairs(root / f"bg/{split}-{{lang}}.tsv", split, ("bg",), range(30))
    header = "sentence1\tsentence2\tgold_label\n"
    pairs(root / "ko/test-{lang}.tsv", "test", ("ko",), range(30))
    korean = (root / "ko/test-ko.tsv").read_text()
    written(root / "kornlu/KorNLI/xnli.test.ko.tsv", header + korean)
    written(
        root / "text/de.txt", "".join(sentence("de", "test", n) + "\n" for n in range(0, 30, 3))
    )
    for split, count in (("train", 20), ("val", 8), ("test", 12)):
        copa(root / f"xtreme/xcopa/{split}-en.jsonl", "en", split, count)
    copa(root / "copa/test.jsonl", "en", "test", 12)
    for language in ("et", "ht"):
        copa(root / f"xcopa/data/{language}/test.{language}.jsonl", language, "test", 12)
    for name, ids in (("train", "t"), ("dev", "d")):
        squad(root / f"squad/{name}-v1.1.json", "en", name, [f"{ids}{n}" for n in range(20)])
    squad(root / "keyed/dev.json", "en", "dev", [f"other{n}" for n in range(20)])
    for language in ("en", "de"):
        squad(
            root / f"xtreme/xquad/xquad.{language}.json",
            language,
            "dev",
            [f"d{n}" for n in range(20)],
        )
    treebanks(root)
    return root


def treebanks(root: Path) -> None:
    """PUD in two languages as UD and as UNER, EWT, and UDPOS, which is made of both."""
    names = {
        language: [sentence(language, "pud", n) for n in range(12)] for language in ("en", "de")
    }
    ewt = {
        split: [sentence("en", f"ewt-{split}", n) for n in range(12)]
        for split in ("train", "dev", "test")
    }
    for language, folder in (("en", "English-PUD/en_pud"), ("de", "German-PUD/de_pud")):
        tagged(root / f"ud/UD_{folder}-ud-test.conllu", names[language], conllu=True, tag="NOUN")
        tagged(root / f"uner/UNER_{folder}-ud-test.iob2", names[language], conllu=False, tag="O")
        other = [sentence(language, "gsd", n) for n in range(30)]
        xtreme_tags(
            root / f"xtreme/udpos/test-{language}.tsv",
            (ewt["test"] if language == "en" else []) + names[language] + other,
        )
    for split, found in ewt.items():
        tagged(root / f"ud/UD_English-EWT/en_ewt-ud-{split}.conllu", found, conllu=True, tag="NOUN")
        tagged(root / f"uner/UNER_English-EWT/en_ewt-ud-{split}.iob2", found, conllu=False, tag="O")
        if split != "test":
            xtreme_tags(root / f"xtreme/udpos/{split}-en.tsv", found)


def entries(
    pico_dir: Path, root: Path, target: str, languages: list[str], **changes: Any
) -> planner.Plan:
    values = {
        "name": "t",
        "encoder": str(pico_dir),
        "methods": ["seq_bn"],
        "intermediates": [],
        "targets": [target],
        "modes": ["none"],
        "languages": languages,
        "data": {"root": str(root)},
        **changes,
    }
    values["tasks"] = {"squad": {"train": "train", "selection": "dev"}, **values.get("tasks", {})}
    found = recipe.parse(values, source="test")
    return planner.plan_recipe(found, planner.Inputs(found, root))


def after(name: str, **part: Any) -> dict[str, Any]:
    """A recipe whose intermediate is `name`, read as `part` says."""
    return {
        "intermediates": [name],
        "modes": ["none", "sequential"],
        "tasks": {name.partition("@")[0]: part},
    }


XNLI_FILES = {"train": "xtreme/xnli/dev-en.tsv", "dev": "mnli/dev-en.tsv"}
EWT_TEST = "ud/UD_English-EWT/en_ewt-ud-test.conllu"
# The target and its languages; the recipe; the cells blocked, the others being free.
CASES = {
    "XNLI's English test as its training file": (
        "xnli",
        ["en", "de", "sw"],
        {"tasks": {"xnli": {"files": {"train": "xtreme/xnli/test-en.tsv"}, "train": "train"}}},
        ["en", "de", "sw"],
    ),
    "the same as MNLI's": (
        "xnli",
        ["de", "sw"],
        {"tasks": {"mnli": {"files": {"train": "xtreme/xnli/test-en.tsv"}}}},
        ["de", "sw"],
    ),
    "xnli@sw on the test": (
        "xnli",
        ["en", "de", "sw"],
        after(
            "xnli@sw",
            files={
                **XNLI_FILES,
                "train@sw": "xtreme/xnli/test-sw.tsv",
                "dev@sw": "xtreme/xnli/dev-sw.tsv",
            },
            train="train",
        ),
        ["en", "de", "sw"],
    ),
    "six of the test's thirty items in a file of others": (
        "xnli",
        ["de"],
        {"tasks": {"mnli": {"files": {"train": "mixed.tsv"}}}},
        ["de"],
    ),
    "XNLI's test in Korean under a file name of its own": (
        "xnli",
        ["de", "sw"],
        after(
            "xnli@ko",
            files={**XNLI_FILES, "train@ko": "ko/test-ko.tsv", "dev@ko": "ko/test-ko.tsv"},
            train="train[:50%]",
            selection="train[50%:]",
        ),
        ["de", "sw"],
    ),
    "plain text made of XNLI's German premises": (
        "xnli",
        ["de", "sw"],
        {**after("text@de"), "modes": ["sequential"]},
        ["de", "sw"],
    ),
    "selection on test items": (
        "xnli",
        ["de", "sw"],
        {"tasks": {"mnli": {"files": {"dev": "xtreme/xnli/test-en.tsv"}}}},
        ["de", "sw"],
    ),
    "COPA's test, which is XCOPA's": (
        "xcopa",
        ["et", "ht"],
        {"tasks": {"copa": {"files": {"train": "copa/test.jsonl"}}}},
        ["et", "ht"],
    ),
    "COPA's training items": ("xcopa", ["et", "ht"], {}, []),
    "SQuAD's dev under other ids": (
        "xquad",
        ["en", "de"],
        {
            "tasks": {
                "squad": {
                    "files": {"train": "keyed/dev.json"},
                    "train": "train[:50%]",
                    "selection": "train[50%:]",
                }
            }
        },
        ["en", "de"],
    ),
    "SQuAD's training items": (
        "xquad",
        ["de"],
        {"tasks": {"squad": {"train": "train[:50%]", "selection": "train[50%:]"}}},
        [],
    ),
    "UNER's English PUD": (
        "uner-pud",
        ["en", "de"],
        {"tasks": {"uner": {"files": {"train": "uner/UNER_English-PUD/en_pud-ud-test.iob2"}}}},
        ["en", "de"],
    ),
    "EWT's entities": ("uner-pud", ["en", "de"], {}, []),
    "EWT's test, a part of UDPOS in English": (
        "udpos",
        ["en", "de"],
        {**after("ewt-xpos", files={"train": EWT_TEST}), "modes": ["sequential"]},
        ["en"],
    ),
    "PUD in English, whose translations are a part of UDPOS": (
        "udpos",
        ["en", "de"],
        {
            **after("ewt-xpos", files={"train": "ud/UD_English-PUD/en_pud-ud-test.conllu"}),
            "modes": ["sequential"],
        },
        ["en", "de"],
    ),
    "EWT's training sentences": (
        "udpos",
        ["en", "de"],
        {**after("ewt-xpos"), "modes": ["sequential"]},
        [],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_items_under_other_names_are_found(case: str, pico_dir: Path, root: Path) -> None:
    """Every cell of the last row is blocked or free as its texts say; what is blocked says where
    the items stood."""
    target, languages, changes, blocked = CASES[case]
    made = entries(pico_dir, root, target, languages, **changes)
    mode = changes.get("modes", ["none"])[-1]
    found = {entry.language: entry for entry in made.entries if entry.mode == mode}
    assert set(found) == set(languages)
    assert [code for code in languages if found[code].status == BLOCKED] == blocked
    for code, entry in found.items():
        assert exposure.STAR not in entry.tag
        assert ("reached the row" in entry.reason or "share a text" in entry.reason) == (
            code in blocked
        )


def test_a_test_that_is_not_at_hand_in_the_language_of_training_is_told(
    pico_dir: Path, root: Path
) -> None:
    """Rows of XNLI itself, in a language in which neither it nor a translation is there to compare
    with: the cell carries a star, and the plan says why. A corpus of others is compared by its ids,
    and told."""
    files = {**XNLI_FILES, "train@bg": "bg/test-bg.tsv", "dev@bg": "bg/dev-bg.tsv"}
    made = entries(pico_dir, root, "xnli", ["de"], **after("xnli@bg", files=files, train="train"))
    assert [entry.tag for entry in made.entries] == ["zero-shot", "zero-shot*"]
    assert [note for note in made.notes if "xnli: its test in bg is not at hand" in note]
    assert not any(entry.status for entry in made.entries)


def data(rows: list[dict[str, Any]], language: str = "en") -> DataSet:
    return DataSet.of("sick", language, "train", "d", rows)


def rows(count: int, name: str, *, parts: str = "ab", shift: int = 0) -> list[dict[str, Any]]:
    """Pairs whose second text is the first one's, or with a shift another pair's."""
    return [
        {
            "id": f"{name}/{n}",
            "a": sentence("en", "a", n),
            **({"b": sentence("en", "b", (n + shift) % count)} if "b" in parts else {}),
        }
        for n in range(count)
    ]


@pytest.mark.parametrize(("parts", "least"), [("ab", 4), ("a", 20)])
def test_rows_in_common_count_from_a_share_of_the_smaller_set(parts: str, least: int) -> None:
    """Splits of one corpus repeat sentences by chance (23 % in WikiANN's Hindi), pairs hardly; what
    was drawn from a test repeats more."""
    test, train = Index.of(rows(40, "test", parts=parts)), rows(40, "train", parts=parts)
    other = [
        {**row, "a": row["a"].replace(" a ", " x ")} for row in rows(100, "other", parts=parts)
    ]
    assert len(test.items_with_rows(data(train[: least - 1] + other))) == 0
    assert len(test.items_with_texts(data(train[: least - 1] + other))) >= least - 1
    assert len(test.items_with_rows(data(train[:least] + other))) == least
    assert len(test.items_with_rows(data(train[:3]))) == 3, "all of a small set"


def test_a_row_is_whole_where_its_texts_stand_together_or_each_alone() -> None:
    """Sentences that recur in other pairs (SICK) are texts in common, not items; plain text made of
    pairs is both."""
    test = Index.of(rows(40, "test"))
    crossed = data(rows(40, "train", shift=1))
    assert not test.items_with_rows(crossed) and len(test.items_with_texts(crossed)) == 40
    swapped = data([{"id": row["id"], "a": row["b"], "b": row["a"]} for row in rows(40, "train")])
    assert len(test.items_with_rows(swapped)) == 40
    premises = data([{"id": row["id"], "text": row["a"]} for row in rows(40, "train")])
    assert not test.items_with_rows(premises) and len(test.items_with_texts(premises)) == 40
    both = data(
        [{"id": f"{row['id']}{at}", "text": row[at]} for row in rows(40, "train") for at in "ab"]
    )
    assert len(test.items_with_rows(both)) == 40


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("Thank you very much", False),
        ("Thank you very much indeed", True),
        ("谢谢你", False),
        ("我不知道我为什么要去那里", True),
        ("ขอบคุณ", False),
        ("ผมไม่รู้ว่าทำไมต้องไปที่นั่น", True),
        ("", False),
        ("a " * 4, False),
    ],
)
def test_short_texts_recur_by_chance_and_do_not_count(text: str, counts: bool) -> None:
    assert (
        bool(data([{"id": "1", "text": text}]).texts)
        == bool(data([{"id": "1", "text": text}]).rows)
        == counts
    )


def test_texts_in_common_block_by_default_and_are_never_scored_in_silence(
    pico_dir: Path, tmp_path: Path
) -> None:
    """All sentences of a test stand in training, in other pairs: blocked where the recipe says
    nothing, with the key that allows it; allowed, the cell carries a star."""
    for split, shift in (("train", 1), ("trial", 2), ("test_annotated", 0)):
        lines = [
            f"{n}\t{row['a']}\t{row['b']}\tNEUTRAL"
            for n, row in enumerate(rows(20, split, shift=shift))
        ]
        lines = [
            line.replace(" a en", f" {split} en") if split == "trial" else line for line in lines
        ]
        numbered = [f"{split}{line}" for line in lines]
        written(
            tmp_path / f"sick/SICK_{split}.txt",
            "\n".join(["pair_ID\tsentence_A\tsentence_B\tentailment_judgment", *numbered]) + "\n",
        )
    (entry,) = entries(pico_dir, tmp_path, "sick", ["en"]).entries
    assert entry.status == BLOCKED and entry.overlap == 1.0 and exposure.STAR not in entry.tag
    assert (
        "100% of the test items share a text with training" in entry.reason
        and "block_overlap" in entry.reason
    )
    (entry,) = entries(pico_dir, tmp_path, "sick", ["en"], block_overlap=1.0).entries
    assert entry.status is None and entry.tag == "task+language-seen*"


def test_what_an_older_version_stored_is_read_without_its_rows() -> None:
    record = data(rows(3, "train")).record()
    del record["rows"]
    read = DataSet.from_record(record)
    assert read.ids and read.texts and not read.rows
    assert not Index.of(rows(3, "test")).items_with_rows(read)


# -- real files


# what trains: task, split, language, files; what is tested: task, language; the share of it that is
# found
REAL = {
    "squad-es": (("squad-es", "dev", "es", {}), ("xquad", "de"), (0.5, 1.0)),
    "KorNLI's dev": (
        ("kornli", "train", "ko", {"train": "kornlu/KorNLI/xnli.dev.ko.tsv"}),
        ("xnli", "de"),
        (1.0, 1.0),
    ),
    "UNER's English PUD": (
        ("uner", "train", "en", {"train": "uner/UNER_English-PUD/en_pud-ud-test.iob2"}),
        ("uner-pud", "zh"),
        (0.99, 1.0),
    ),
    "PUD in UDPOS": (
        ("udpos", "train", "en", {"train": "pud-en.tsv"}),
        ("udpos", "hi"),
        (0.3, 0.4),
    ),
    "COPA's test": (
        ("copa", "train", "en", {"train": "copa/test.jsonl"}),
        ("xcopa", "qu"),
        (1.0, 1.0),
    ),
    "XNLI's test in Spanish": (
        (
            "xnli",
            "train",
            "es",
            {"train": "xtreme/xnli/test-es.tsv", "gold": "xtreme_labels/xnli/test-es.tsv"},
        ),
        ("americasnli", "qu"),
        (1.0, 1.0),
    ),
    "EWT's training sentences": (("ewt-xpos", "train", "en", {}), ("udpos", "en"), (0.0, 0.0)),
    "WikiANN in Hindi": (
        ("panx", "train", "hi", {"train": "study/panx/train-hi.tsv.gz"}),
        ("panx", "hi"),
        (0.0, 0.0),
    ),
    "SICK": (("sick", "train", "en", {}), ("sick", "en"), (0.0, 0.0)),
    "XNLI's dev": (("xnli", "dev", "en", {}), ("xnli", "de"), (0.0, 0.0)),
    "TyDiQA": (("tydiqa", "train", "sw", {}), ("tydiqa", "sw"), (0.0, 0.0)),
}


@pytest.mark.parametrize("case", REAL)
def test_real_files(case: str, data_dir: Path, tmp_path: Path) -> None:
    """What is known to be shared is found; what corpora repeat by chance is not taken for it."""
    pud = Sources(data_dir).whole(tasks.task("pud"), "test", "en").rows
    xtreme_tags(tmp_path / "pud-en.tsv", [" ".join(row["words"]) for row in pud])
    (name, split, language, files), (target, tested), (least, most) = REAL[case]
    files = dict(files)
    gold = {"train": files.pop("gold")} if "gold" in files else {}
    tests = {"panx": Override(test="dev", files={"dev": "study/panx/dev-{lang}.tsv.gz"})}
    if case.startswith("KorNLI"):
        tests["xnli"] = Override(test="dev")
    files = {part: file.replace("pud-en", f"{tmp_path}/pud-en") for part, file in files.items()}
    training = Sources(data_dir, {name: Override(files=files, gold=gold)})
    testing = Sources(data_dir, tests)
    seen = training.whole(tasks.task(name), split, language).data_set()
    found = Contamination(
        lambda task, code, part: (
            testing.test(task, code) if part is None else testing.whole(task, part, code)
        )
    )
    test = testing.test(tasks.task(target), tested)
    assert least <= len(found.overlap(test, seen).items) / len(test.rows) <= most
