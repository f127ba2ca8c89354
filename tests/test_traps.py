"""Ten things that silently give wrong numbers in other code for these benchmarks, each shut by a
test."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from adapters_xitt import tasks
from adapters_xitt.data.dataset import Override, Sources
from adapters_xitt.data.features import Lengths
from adapters_xitt.errors import XittError
from adapters_xitt.evaluation import upper_bound
from adapters_xitt.kinds import decoding
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.metrics import METRICS
from adapters_xitt.model import pretrained
from adapters_xitt.report import submission


def test_1_tydiqa_trains_on_english_alone(data_dir) -> None:
    """Files that hold every language under an English name train in nine languages what is told as
    zero-shot."""
    rows = Sources(data_dir).train(tasks.task("tydiqa"), "en").rows
    assert rows and all(row["id"].startswith("tydiqa/en/") for row in rows)
    assert all(np.mean([char.isascii() for char in row["question"]]) > 0.9 for row in rows), (
        "questions in English"
    )


def test_2_udpos_f1_is_over_runs_of_equal_tags() -> None:
    found = METRICS["tag_f1"](language="en").score(
        [["NOUN", "PROPN", "VERB", "PUNCT"]], [["NOUN", "NOUN", "VERB", "PUNCT"]]
    )
    assert found["f1"] == pytest.approx(100 * 4 / 7) and found["accuracy"] == 75.0
    assert tasks.task("udpos").main_score == "f1"


@pytest.mark.parametrize(
    ("name", "language"),
    [
        ("xnli", "de"),
        ("udpos", "de"),
        ("xquad", "de"),
        ("pawsx", "de"),
        ("panx", "de"),
        ("tydiqa", "fi"),
    ],
)
def test_3_blanked_test_labels_are_never_scored(name, language, data_dir, tmp_path) -> None:
    """XTREME's preprocessing empties the labels of its tests: without the folder of labels there is
    no score."""
    (tmp_path / "xtreme").symlink_to(data_dir / "xtreme")
    task = tasks.task(name)
    with pytest.raises(XittError):
        # no labels to read, or nothing to score them by
        rows = Sources(tmp_path).test(task, language).rows
        golds = [
            {
                "id": row["id"],
                "answers": {"text": [a["text"] for a in row["answers"]], "answer_start": []},
            }
            for row in rows
        ]
        METRICS[task.metric](language=language).score([], golds)


def test_3_xcopa_reads_the_original_whose_labels_are_there(data_dir) -> None:
    for language in tasks.task("xcopa").languages:
        labels = {
            row["label"] for row in Sources(data_dir).test(tasks.task("xcopa"), language).rows
        }
        assert labels == {0, 1}


def test_4_the_sorted_english_side_of_tatoeba_keeps_its_gold(data_dir) -> None:
    """XTREME sorts the English lines; read without the file of labels, line n would be taken for
    n's translation."""
    task = tasks.task("tatoeba")
    inverse = {"tatoeba": {"inverse": True}}  # the labels at hand give the query of each candidate
    rows = (
        Sources(data_dir, {"tatoeba": Override(options=inverse["tatoeba"])}).test(task, "de").rows
    )
    assert [row["query"] for row in rows] == sorted(row["query"] for row in rows)
    assert (
        sorted(row["gold"] for row in rows)
        == list(range(len(rows)))
        != [row["gold"] for row in rows]
    )
    laser = (data_dir / "xtreme_labels" / "tatoeba" / "test-de.tsv").read_text().split()
    assert all(int(laser[row["gold"]]) == at for at, row in enumerate(rows))


def test_5_answers_are_found_by_characters_not_by_an_offset_of_special_tokens(
    data_dir, encoders_dir
) -> None:
    """An offset wrong by one shifts every answer; here gold spans come back as their own text."""
    files = pretrained.inspect(str(encoders_dir / "lab-xlmr"))
    rows = Sources(data_dir).test(tasks.task("xquad"), "de").rows
    lengths = Lengths(384, 128, 64)
    features = encode("qa", rows, tokenizer=pretrained.load_tokenizer(files), lengths=lengths)
    found = upper_bound.upper_bound(tasks.task("xquad"), "de", rows, features, lengths)
    assert found.counts[upper_bound.BACK] > 0.9 * len(rows)


def test_6_long_sentences_have_a_tag_of_the_task_for_every_word(pico_tokenizer) -> None:
    """A sentence cut by the encoder's length must not be filled with anything but tags."""
    import pico

    task = pico.TASKS["tagging"]
    (row,) = pico.rows("tagging", 1, seed=3)
    row = {**row, "words": row["words"] * 40, "tags": row["tags"] * 40}
    features = encode("tagging", [row], tokenizer=pico_tokenizer, lengths=Lengths(24))
    assert len(features) > 1
    draw = np.random.default_rng(1)
    said = [
        draw.random((sum(word >= 0 for word in words), len(task.labels)))
        for words in features.columns["word"]
    ]
    (item,) = decoding.decode(HeadOutputs(task, "en", [row], features, said)).items
    assert len(item["tags"]) == len(row["words"]) and set(item["tags"]) <= set(task.labels)


def test_7_the_conventions_of_bucc_have_names() -> None:
    names = [one.name for one in tasks.task("bucc2018").conventions]
    assert names == ["mean-14", "mean-20", "first-20"]
    from adapters_xitt.evaluation.conventions import convention, layer_of

    told = [convention(tasks.task("bucc2018"), 24, name=name) for name in names]
    assert [layer_of(tasks.task("bucc2018"), 24, name=name) for name in names] == [14, 20, 20]
    assert (
        len(set(told)) == 3
        and "mean over tokens at layer 14 of 24" in told[0]
        and "first token" in told[2]
    )


@pytest.mark.parametrize(("name", "language"), [("pawsx", "es"), ("pawsx", "fr"), ("pawsx", "ko")])
def test_8_quotes_of_csv_are_read_as_csv_writes_them(name, language, data_dir) -> None:
    """Fields of XNLI and PAWS-X that hold quotes are quoted and doubled; cut at tabs, texts would
    keep that."""
    lines = (
        (data_dir / "xtreme" / name / f"dev-{language}.tsv").read_text(encoding="utf-8").split("\n")
    )
    rows = Sources(data_dir).select(tasks.task(name), language, most=None).rows
    quoted = [
        (row["a"], line.split("\t")[0])
        for row, line in zip(rows, lines, strict=False)
        if line.startswith('"')
    ]
    assert quoted
    for text, raw in quoted:
        assert text != raw == '"' + text.replace('"', '""') + '"'


def test_9_an_average_of_xtreme_r_is_made_and_says_what_it_lacks(data_dir) -> None:
    """The official script makes none. It counts XCOPA in two groups; the whole counts it once."""
    mock = data_dir / "xtreme_mock"
    found = submission.score(
        mock / "predictions", mock / "labels", submission.benchmark("xtreme-r"), lenient=True
    )
    assert found.whole.value is not None and "xcopa" in found.whole.missing
    assert sum("xcopa" == row.name for row in found.benchmark.rows) == 1
    assert (
        found.groups["multi_choice"].missing == found.groups["classification"].missing == ("xcopa",)
    )
    assert "lareqa" not in found.tasks, "the official script reads no files of it"


def test_10_a_folder_called_test_keeps_the_labels_of_training(data_dir, tmp_path) -> None:
    root = tmp_path / "test" / "latest-test"
    (root / "xtreme").mkdir(parents=True)
    shutil.copytree(data_dir / "xtreme" / "panx", root / "xtreme" / "panx")
    there, here = (
        Sources(folder).select(tasks.task("panx"), "en", most=None) for folder in (data_dir, root)
    )
    assert json.dumps(there.rows) == json.dumps(here.rows) and any(
        tag for row in here.rows for tag in row["tags"]
    )


def test_translations_of_a_test_are_blocked_after_its_origin(data_dir, tmp_path) -> None:
    """AmericasNLI's items are XNLI's: what trained on XNLI's test has seen them."""
    trained = (
        Sources(data_dir, {"xnli": Override(test="test")}).test(tasks.task("xnli"), "es").data_set()
    )
    for language in ("qu", "gn"):
        test = Sources(data_dir).test(tasks.task("americasnli"), language)
        assert len(test.data_set().ids & trained.ids) == len(test.rows)
        seen = {
            row["id"]: row["label"] for row in Sources(data_dir).test(tasks.task("xnli"), "es").rows
        }
        assert all(seen[row["id"]] == row["label"] for row in test.rows), (
            "the same item, so the same label"
        )


def test_what_trains_a_target_is_said_where_it_is_read(tmp_path) -> None:
    from adapters_xitt.study import recipe

    path = tmp_path / "r.yaml"
    path.write_text(
        "encoder: demo\nmethods: [seq_bn]\nintermediates: []\ntargets: [xquad]\n"
        "tasks:\n  xquad: {trained_in: [ko], examples: 9, training: {max_steps: 1}}\n"
    )
    with pytest.raises(XittError) as told:
        recipe.load(path)
    assert str(told.value).count("task xquad is trained on squad: write") == 3
