"""Encoding and batching: every word, every answer, every example, each once."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pico
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters_xitt import tasks
from adapters_xitt.data import readers
from adapters_xitt.data.batching import collate, epoch_batches, micro_batches, steps_per_epoch
from adapters_xitt.data.features import IGNORE, Features, Lengths
from adapters_xitt.evaluation import upper_bound
from adapters_xitt.evaluation.upper_bound import BACK, CUT, INSIDE, LONG, NORMALISED
from adapters_xitt.kinds import KINDS, decoding
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.kinds.record import HeadOutputs
from adapters_xitt.model import pretrained

XQUAD = ("en", "es", "de", "el", "ru", "tr", "ar", "vi", "th", "zh", "hi")
SHORT = Lengths(128, 32, 32)  # what a small encoder of 128 positions reads
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="session")
def lab(encoders_dir):
    """The tokenizer of the real small encoder."""
    folder = encoders_dir / "lab-xlmr"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    return pretrained.load_tokenizer(pretrained.inspect(str(folder)))


@pytest.fixture(params=["pico", "lab"])
def tokenizer(request):
    """Both tokenizers, the second where it is."""
    return request.getfixturevalue({"pico": "pico_tokenizer", "lab": "lab"}[request.param])


# -- multiple choice


def items(*found):
    return [
        {"id": str(n), "prompt": prompt, "choices": list(choices), "label": label}
        for n, (prompt, choices, label) in enumerate(found)
    ]


def test_choices(tokenizer):
    """A unit per choice, each the tokenizer's own pair; one weight an item."""
    rows = items(
        ("the red cat", ("a dog", "two birds", "a river"), 1), ("", ("the tree", "a river"), None)
    )
    features = encode("choice", rows, tokenizer=tokenizer, lengths=Lengths(40))
    assert features.columns["ids"].tolist() == [
        tokenizer(row["prompt"], choice)["input_ids"] for row in rows for choice in row["choices"]
    ]
    assert features.columns["choice"].tolist() == [0, 1, 2, 0, 1] and features.columns[
        "weight"
    ].tolist() == [
        1,
        0,
        0,
        1,
        0,
    ]
    assert features.columns["label"].tolist() == [1, 1, 1, IGNORE, IGNORE]
    assert [own.tolist() for own in features.of_examples()] == [
        [0, 1, 2],
        [3, 4],
    ] and features.bundles().tolist() == [
        0,
        0,
        0,
        1,
        1,
    ]


def test_a_long_prompt_loses_its_start(tokenizer):
    """And the choice nothing, unless it alone is too long."""
    long, short, longer = "the red cat " * 9 + "a dog", "two old houses", "the river " * 20
    features = encode(
        "choice", items((long, (short, longer), 0)), tokenizer=tokenizer, lengths=Lengths(20)
    )
    a, b, c = (
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in (long, short, longer)
    )
    assert len(a) + len(b) > 16 and len(c) > 16
    assert features.columns["ids"].tolist() == [
        [0, *a[len(b) - 16 :], 2, 2, *b, 2],
        [0, 2, 2, *c[:16], 2],
    ]
    assert set(features.lengths) == {20}


def test_a_prompt_that_just_fits_is_whole(tokenizer):
    sizes = [
        len(tokenizer(text, add_special_tokens=False)["input_ids"])
        for text in ("the red cat", "a dog")
    ]
    for spare in (0, 1):
        features = encode(
            "choice",
            items(("the red cat", ("a dog", "a dog"), 0)),
            tokenizer=tokenizer,
            lengths=Lengths(sum(sizes) + 4 + spare),
        )
        assert features.columns["ids"].tolist()[0] == tokenizer("the red cat", "a dog")["input_ids"]


# -- pairs and retrieval


def test_pairs(tokenizer):
    """`<s> a </s></s> b </s>`, the longer one cut first, a missing label ignored."""
    rows = [
        {"a": "the red cat", "b": "a dog", "label": 2},
        {"a": "the cat " * 40, "b": "a dog", "label": None},
    ]
    features = encode("pair", rows, tokenizer=tokenizer, lengths=Lengths(20))
    single = [
        tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("the red cat", "a dog")
    ]
    assert features.columns["ids"].tolist()[0] == [0, *single[0], 2, 2, *single[1], 2]
    assert len(features.columns["ids"].tolist()[1]) == 20 and features.columns["ids"].tolist()[1][
        -len(single[1]) - 1 :
    ] == [*single[1], 2]
    assert features.columns["label"].tolist() == [2, IGNORE] and features.columns[
        "weight"
    ].tolist() == [1, 1]
    assert [own.tolist() for own in features.of_examples()] == [[0], [1]]


def test_retrieval(tokenizer):
    """Queries first, then candidates; decoding finds the twin of every sentence."""
    texts = ["the red cat", "a dog sees", "two old houses", "the river"]
    rows = [
        {"id": str(n), "query": text, "candidate": texts[n - 1], "gold": (n + 1) % 4}
        for n, text in enumerate(texts)
    ]
    features = encode("retrieval", rows, tokenizer=tokenizer, lengths=Lengths(16))
    assert features.columns["ids"].tolist()[4] == features.columns["ids"].tolist()[3] and [
        own.tolist() for own in features.of_examples()
    ] == [[n, n + 4] for n in range(4)]
    vectors = np.eye(5)[[0, 1, 2, 3, 3, 0, 1, 2]]
    found = decoding.decode(
        HeadOutputs(pico.TASKS["retrieval"], "de", rows, features, list(vectors))
    )
    assert found.scores == {"accuracy": 100.0}
    assert [item["index"] for item in found.items] == [1, 2, 3, 0]


# -- tagging

WORDS = st.one_of(
    st.sampled_from(
        [*pico.NOUNS, *pico.VERBS, "中文", "Дом", "ﷺ", "½", ".", " ", "\u200b", "🙂", "a b"]
    ),
    st.text(min_size=1, max_size=30),
    st.text("abcxyz", min_size=20, max_size=60),
)


def check_windows(words, tags, tokenizer, most):
    row = {"id": "0", "words": words, "tags": tags}
    features = encode("tagging", [row], tokenizer=tokenizer, lengths=Lengths(most))
    assert sum(features.columns["weight"].tolist()) == len(words)
    assert all(
        2 <= len(ids) <= most and (ids[0], ids[-1]) == (0, 2)
        for ids in features.columns["ids"].tolist()
    )
    assert [
        word for column in features.columns["word"].tolist() for word in column if word >= 0
    ] == list(range(len(words)))
    for ids, column, labels in zip(
        *(features.columns[name].tolist() for name in ("ids", "word", "labels")), strict=True
    ):
        assert len(ids) == len(column) == len(labels)
        assert labels == [tags[word] if word >= 0 else IGNORE for word in column]
    return row, features


@quick
@given(st.lists(st.tuples(WORDS, st.integers(0, 3)), min_size=1, max_size=50), st.integers(6, 40))
def test_tagging_windows(tokenizer, sentence, most):
    """Every word stands in one window, once, in order, with its label on its first token; no window
    is too long."""
    words, tags = map(list, zip(*sentence, strict=True))
    row, features = check_windows(words, tags, tokenizer, most)
    # One-hot logits of the labels, collated, said and decoded, are the sentence's own tags.
    batch = {
        name: torch.from_numpy(value)
        for name, value in collate(features, range(len(features)), pad=1).items()
    }
    said = KINDS["tagging"].predict(
        10.0 * torch.nn.functional.one_hot(batch["labels"].clamp(min=0), 4), batch
    )
    found = decoding.decode(HeadOutputs(pico.TASKS["tagging"], "en", [row], features, said))
    assert (
        found.items[0]["tags"]
        == found.items[0]["gold"]
        == [pico.TASKS["tagging"].labels[tag] for tag in tags]
    )
    assert found.scores["f1"] == 100.0


def test_tagging_windows_are_full(tokenizer):
    """A new window begins only where the next word doesn't fit."""
    words = ["teacher", "sees", "houses"] * 40
    _, features = check_windows(words, [0] * 120, tokenizer, 24)
    pieces = [
        len(tokenizer([word], is_split_into_words=True, add_special_tokens=False)["input_ids"])
        for word in words
    ]
    for column, ids in zip(
        features.columns["word"].tolist()[:-1], features.columns["ids"].tolist()[:-1], strict=True
    ):
        assert len(ids) + pieces[max(column) + 1] > 24


# -- questions


@pytest.mark.parametrize(
    "lengths", [SHORT, Lengths(384, 128, 64)], ids=["128 tokens", "384 tokens"]
)
@pytest.mark.parametrize("language", XQUAD)
def test_xquad_answers_come_back(language, lengths, data_dir, lab):
    """Gold spans, encoded and decoded with one-hot logits, are the gold texts, but for the few for
    which there is one of the known reasons."""
    rows = readers.squad_json(data_dir / f"xquad/xquad.{language}.json", split="test").rows
    features = encode("qa", rows, tokenizer=lab, lengths=lengths)
    assert max(map(len, features.columns["ids"].tolist())) <= lengths.max_length
    found = upper_bound.upper_bound(tasks.task("xquad"), language, rows, features, lengths)
    assert sum(found.counts.values()) == len(rows)
    assert found.counts[INSIDE] <= 0.06 * len(rows)
    assert found.counts[LONG] + found.counts[CUT] <= 0.06 * len(rows)
    assert lengths is SHORT or found.counts[CUT] == 0
    exact = found.counts[BACK] + found.counts[NORMALISED]
    assert found.scores["exact_match"] >= 100 * exact / len(rows) - 1e-9


QA_FILES = [
    ("squad", "en", "squad/full/dev-v1.1.json.gz"),
    *(
        ("mlqa", code, f"mlqa/MLQA_V1/dev/dev-context-{code}-question-{code}.json")
        for code in ("en", "ar", "de")
    ),
    *(
        ("tydiqa", code, f"xtreme_labels/tydiqa/test-{code}.json")
        for code in ("ar", "bn", "en", "fi", "id", "ko", "ru", "sw", "te")
    ),
]


@pytest.mark.parametrize(
    ("name", "language", "file"), QA_FILES, ids=lambda value: str(value).rpartition("/")[2]
)
def test_answers_of_other_files_come_back(name, language, file, data_dir, lab):
    """Every span that does not come back has a known reason."""
    rows = readers.squad_json(data_dir / file, split="test").rows[:400]
    features = encode("qa", rows, tokenizer=lab, lengths=SHORT)
    found = upper_bound.upper_bound(tasks.task(name), language, rows, features, SHORT)
    assert sum(found.counts.values()) == len(rows) and found.counts[BACK] > 0.5 * len(rows)


def test_made_answers_come_back(pico_tokenizer):
    """Without sub-words in the way, every answer comes back, from contexts of one window and of
    several."""
    rows = pico.rows("qa", 80, seed=9)
    features = pico.features("qa", rows, pico_tokenizer)
    assert 40 < sum(len(own) > 1 for own in features.of_examples()) < 80
    found = decoding.decode(
        HeadOutputs(pico.TASKS["qa"], "en", rows, features, upper_bound.golden(features))
    )
    assert [item["text"] for item in found.items] == [row["answers"][0]["text"] for row in rows]
    assert found.scores["exact_match"] == 100.0


@quick
@given(
    context=st.lists(WORDS, min_size=1, max_size=60).map(" ".join),
    question=st.lists(WORDS, min_size=1, max_size=20),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_question_windows(tokenizer, context, question, at):
    """Whatever the text: no window is too long; every context token is open in one window; spans
    are the context's."""
    first, last = sorted(int(share * len(context)) for share in at)
    answers = [{"text": context[first:last], "start": first}] if first < last else []
    rows = [{"id": "0", "question": " ".join(question), "context": context, "answers": answers}]
    features = encode("qa", rows, tokenizer=tokenizer, lengths=pico.CAPS)
    assert all(len(ids) <= pico.CAPS.max_length for ids in features.columns["ids"].tolist())
    opened, all_spans = Counter(), set()
    for spans, marks in zip(
        features.columns["offsets"].tolist(), features.columns["open"].tolist(), strict=True
    ):
        assert not any(mark for span, mark in zip(spans, marks, strict=True) if span[0] < 0)
        for span, mark in zip(spans, marks, strict=True):
            if span[0] >= 0:
                assert context[slice(*span)].strip() == context[slice(*span)] != ""
                all_spans.add(tuple(span))
                opened[span[0]] += mark
    assert all(opened[left] >= 1 for left, _ in all_spans)
    for start, end, spans in zip(
        *(features.columns[name].tolist() for name in ("start", "end", "offsets")), strict=True
    ):
        # a target holds the whole answer, and no token that has nothing of it
        if (start, end) != (0, 0):
            left, right = spans[start][0], spans[end][1]
            assert left <= first < spans[start][1] or not context[first : spans[start][1]].strip()
            assert spans[end][0] < last <= right or not context[spans[end][0] : last].strip()


# -- batches

LENGTHS = st.lists(st.integers(1, 300), min_size=0, max_size=120).map(
    lambda found: np.array(found, dtype=np.int64)
)


@settings(max_examples=150, deadline=None)
@given(LENGTHS, st.integers(1, 2000))
def test_micro_batches(lengths, budget):
    """Every unit once; no more tokens than allowed, padding included, but for a single unit;
    longest first."""
    found = micro_batches(lengths, range(len(lengths)), budget)
    assert sorted(feature for part in found for feature in part) == list(range(len(lengths)))
    assert all(
        part and (len(part) == 1 or len(part) * max(lengths[part]) <= budget) for part in found
    )
    order = [lengths[feature] for part in found for feature in part]
    assert order == sorted(order, reverse=True)
    assert found == micro_batches(lengths, list(reversed(range(len(lengths)))), budget)


def test_small_micro_batches():
    lengths = np.array([5, 9, 9, 1, 30])
    assert micro_batches(lengths, [], 100) == []
    assert micro_batches(lengths, [3], 100) == [[3]]
    assert micro_batches(lengths, [4], 10) == [[4]]
    assert micro_batches(lengths, [0, 1, 2, 3, 4], 18) == [[4], [1, 2], [0, 3]]
    assert micro_batches(lengths, [0, 1, 2], 17) == [[1], [2], [0]]


@settings(max_examples=150, deadline=None)
@given(LENGTHS, st.integers(1, 2000), st.integers(1, 6))
def test_micro_batches_of_bundles(lengths, budget, size):
    """A bundle is never parted; no more tokens than allowed but for a single bundle, the longest
    first."""
    bundles = np.random.default_rng(0).permutation(len(lengths)) // size
    found = micro_batches(lengths, range(len(lengths)), budget, bundles=bundles)
    assert sorted(feature for part in found for feature in part) == list(range(len(lengths)))
    inside = [set(bundles[part]) for part in found]
    assert sum(map(len, inside)) == len(set(bundles))
    assert all(
        len(own) == 1 or len(part) * max(lengths[part]) <= budget
        for part, own in zip(found, inside, strict=True)
    )
    longest = [max(lengths[part]) for part in found]
    assert longest == sorted(longest, reverse=True)
    alone = np.arange(len(lengths))
    assert micro_batches(lengths, range(len(lengths)), budget, bundles=alone) == micro_batches(
        lengths, range(len(lengths)), budget
    )


@settings(max_examples=100, deadline=None)
@given(LENGTHS.filter(len), st.integers(1, 40), st.integers(0, 2**63 - 1), st.integers(0, 5))
def test_epoch_batches(lengths, size, seed, epoch):
    """Every example once in an epoch, in steps of the same size but one; the order is the seed's
    and the epoch's."""
    found = epoch_batches(lengths, size, seed=seed, epoch=epoch)
    assert len(found) == steps_per_epoch(len(lengths), size)
    assert sorted(np.concatenate(found)) == list(range(len(lengths)))
    assert sorted(map(len, found))[1:] == [size] * (len(found) - 1)
    again = epoch_batches(lengths, size, seed=seed, epoch=epoch)
    assert all(np.array_equal(one, two) for one, two in zip(found, again, strict=True))


def test_epochs_and_seeds_differ():
    lengths = np.arange(500) % 37 + 3
    orders = [
        tuple(np.concatenate(epoch_batches(lengths, 16, seed=seed, epoch=epoch)))
        for seed in range(3)
        for epoch in range(3)
    ]
    assert len(set(orders)) == 9
    # Chance decides: the first step's mean length is not the shortest or the longest, over many
    # epochs.
    firsts = [
        lengths[epoch_batches(lengths, 16, seed=1, epoch=epoch)[0]].mean() for epoch in range(40)
    ]
    assert abs(np.mean(firsts) - lengths.mean()) < 6


def padding(lengths, parts):
    """Share of a batch that is padding."""
    return 1 - sum(lengths[part].sum() for part in parts) / sum(
        len(part) * lengths[part].max() for part in parts
    )


def trained(lengths):
    """The micro-batches of an epoch."""
    return [
        part
        for step in epoch_batches(lengths, 32, seed=1, epoch=0)
        for part in micro_batches(lengths, step.tolist(), 4096)
    ]


@pytest.mark.parametrize(
    ("middle", "spread", "most"),
    [(35, 0.5, 128), (40, 0.4, 128), (180, 0.35, 384)],
    ids=["pairs", "sentences", "paragraphs"],
)
def test_little_padding(middle, spread, most):
    """Lengths as in the real tasks (log-normal, cut): under 5 % of what is computed is padding,
    over half without the sorting."""
    draw = np.random.default_rng(0)
    lengths = np.clip(np.exp(draw.normal(np.log(middle), spread, 8000)), 6, most).astype(np.int64)
    assert padding(lengths, trained(lengths)) < 0.05
    assert padding(lengths, micro_batches(lengths, range(len(lengths)), 8192)) < 0.05
    assert padding(lengths, np.array_split(draw.permutation(len(lengths)), 250)) > 0.4


REAL = {
    "xnli/dev-en.tsv": ("xnli", readers.pairs_tsv),
    "udpos/train-en.tsv": ("udpos", readers.tags_tsv),
}


@pytest.mark.parametrize("file", REAL)
def test_little_padding_on_real_text(file, data_dir, lab):
    name, read = REAL[file]
    row = tasks.task(name)
    found = read(data_dir / "xtreme" / file, split="dev", labels=row.labels).rows
    lengths = encode(row.kind, found, tokenizer=lab, lengths=Lengths(128)).lengths
    assert padding(lengths, trained(lengths)) < 0.05
    # few batches: the last is mixed
    assert padding(lengths, micro_batches(lengths, range(len(lengths)), 8192)) < 0.1


def test_a_number_of_a_feature_may_have_a_fraction():
    columns = {"ids": [[0, 5, 2], [0, 2]], "label": [0.75, 2.0], "weight": [1, 1]}
    batch = collate(Features(columns, 2), [1, 0], pad=1)
    assert batch["label"].dtype == np.float32 and batch["label"].tolist() == [2.0, 0.75]
    assert batch["weight"].dtype == batch["ids"].dtype == np.int64


def test_collate(pico_tokenizer):
    """Padded to the longest, with the mask of what is there; what fills each column."""
    features = pico.features("tagging", pico.rows("tagging", 6, seed=4), pico_tokenizer)
    chosen = [3, 0, 5]
    batch = collate(features, chosen, pad=1)
    assert batch["ids"].shape == (3, max(features.lengths[chosen]))
    for at, feature in enumerate(chosen):
        length = features.lengths[feature]
        assert batch["ids"][at, :length].tolist() == features.columns["ids"].tolist()[feature]
        assert batch["mask"][at].tolist() == [1] * length + [0] * (batch["ids"].shape[1] - length)
        for name, fill in (("ids", 1), ("labels", IGNORE), ("word", IGNORE)):
            assert (batch[name][at, length:] == fill).all()
    assert batch["example"].tolist() == [
        features.columns["example"].tolist()[feature] for feature in chosen
    ]
