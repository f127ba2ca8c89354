"""What the caps on lengths cut off is counted and told: in the plan, in the result, in the
report."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_golden import write_encoder
from test_run import xitt

from adapters_xitt import tasks
from adapters_xitt.data import truncation
from adapters_xitt.data.dataset import Sources
from adapters_xitt.data.features import Lengths
from adapters_xitt.kinds import KINDS
from adapters_xitt.kinds.encoding import encode
from adapters_xitt.kinds.qa import UNREACHABLE
from adapters_xitt.model import pretrained
from adapters_xitt.study.store import Store

GOLDEN = Path(__file__).parent / "golden"


def test_the_pairs_of_xnli_that_lose_their_end(encoders_dir, data_dir) -> None:
    """Each language against its own lengths without a cap; 54, 4 and none with this tokenizer."""
    tokenizer = pretrained.load_tokenizer(pretrained.inspect(str(encoders_dir / "lab-xlmr")))
    row, counts = tasks.task("xnli"), []
    for language in ("ar", "de", "sw"):
        rows = Sources(data_dir).test(row, language).rows
        features = encode("pair", rows, tokenizer=tokenizer, lengths=Lengths(128))
        whole = tokenizer([one["a"] for one in rows], [one["b"] for one in rows])["input_ids"]
        counts.append(KINDS["pair"].truncated(rows, features).get(truncation.END, 0))
        assert counts[-1] == sum(len(ids) > 128 for ids in whole)
    assert counts == [54, 4, 0]


LOST = {
    "choice": "items lost the start of their prompt or the end of a choice",
    "tagging": "words fit no window and were read as one piece or cut",
    "qa": "questions lost their end",
}
LONG = "the red cat sees a dog " * 9


@pytest.mark.parametrize(
    ("kind", "short", "cut", "count"),
    [
        (
            "pair",
            {"a": "the cat", "b": "a dog", "label": 0},
            {"a": LONG, "b": "a dog", "label": 0},
            1,
        ),
        (
            "choice",
            {"prompt": "the cat", "choices": ["a", "b"], "label": 0},
            {"prompt": LONG, "choices": ["a", "b"], "label": 0},
            1,
        ),
        ("mlm", {"text": "the cat"}, {"text": LONG}, 1),
        (
            "retrieval",
            {"query": "the cat", "candidate": "a dog"},
            {"query": LONG, "candidate": LONG},
            1,
        ),
        ("ranking", {"side": "query", "text": "the cat"}, {"side": "candidate", "text": LONG}, 1),
        (
            "tagging",
            {"words": ["the", "cat"] * 20, "tags": None},
            {"words": ["q" * 300, "the", "zx" * 200], "tags": None},
            2,
        ),
        (
            "qa",
            {"question": "a dog ?", "context": LONG, "answers": [{"text": "red cat", "start": 4}]},
            {"question": LONG, "context": LONG, "answers": [{"text": "red cat", "start": 4}]},
            1,
        ),
    ],
)
def test_every_kind_counts_what_it_loses(pico_tokenizer, kind, short, cut, count) -> None:
    lengths = Lengths(24, stride=6, question=8)
    for rows, lost in (([short], 0), ([short, cut], count)):
        features = encode(kind, rows, tokenizer=pico_tokenizer, lengths=lengths)
        told = {LOST.get(kind, truncation.END): lost} if lost else {}
        assert KINDS[kind].truncated(rows, features) == told


def test_an_answer_that_no_window_holds_is_counted(pico_tokenizer) -> None:
    answers = [{"text": LONG[:160], "start": 0}]
    rows = [{"question": "a dog ?", "context": LONG, "answers": answers}]
    features = encode(
        "qa", rows, tokenizer=pico_tokenizer, lengths=Lengths(24, stride=6, question=8)
    )
    assert KINDS["qa"].truncated(rows, features) == {UNREACHABLE: 1}


def test_the_plan_the_result_and_the_report_tell_it(tmp_path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    (tmp_path / "cut.yaml").write_text(f"""encoder: {encoder}
data: {{root: {GOLDEN / "data"}}}
methods: [{{name: lora, rank: 2}}]
intermediates: []
targets: [demo-pairs]
modes: [none]
languages: [de]
lengths: {{max_length: 14}}
training: {{batch_size: 8, max_steps: 1, selection_examples: 4}}
""")
    own = ("--store", tmp_path / "store")
    planned = " ".join(xitt("plan", tmp_path / "cut.yaml", *own).split())
    assert "demo-pairs: " in planned and "items lost their end, of 12 examples (de " in planned
    assert "examples (in training " in planned
    printed = " ".join(xitt("run", tmp_path / "cut.yaml", *own, "--device", "cpu").split())
    (result,) = Store(tmp_path / "store").results()
    count = result.truncated[truncation.END]
    assert (
        0 < count <= 12
        and f"demo-pairs: {count} items lost their end, of 12 examples (de {count})" in printed
    )
    whole = xitt("plan", tmp_path / "cut.yaml", "lengths.max_length=60", *own)
    assert "lost their end" not in whole
