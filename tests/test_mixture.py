"""Portions, mixtures and their controls: text forms, shares of steps, permuted labels."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pico
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters_xitt.data import mixture
from adapters_xitt.data.mixture import Mixture, Portion, portion
from adapters_xitt.errors import XittError
from adapters_xitt.kinds import KINDS
from adapters_xitt.tasks import TASKS
from adapters_xitt.training import checkpoint
from adapters_xitt.training.module import ModuleInTraining
from adapters_xitt.training.settings import Settings

SHARES = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8).map(
    lambda raw: [one / sum(raw) for one in raw]
)


@pytest.mark.parametrize(
    "text", ["squad", "squad@es", "xnli@de+ru+sw", "squad:permuted", "squad@es:text"]
)
def test_a_portion_reads_what_it_writes(text: str) -> None:
    assert portion(text).text == text


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("sqad", "Did you mean 'squad'?"),
        ("squad@xx", "unknown language 'xx'"),
        ("squad@es+es", "stands there twice"),
        ("squad:permutd", "Did you mean 'permuted'?"),
        ("tatoeba", "trains nothing"),
        ("", "write a task"),
    ],
)
def test_a_wrong_portion_is_told(text: str, part: str) -> None:
    with pytest.raises(XittError, match=part.replace("?", r"\?")):
        portion(text)


@given(SHARES, st.integers(1, 400))
def test_every_task_has_its_share_at_every_step(shares: list[float], steps: int) -> None:
    turns = mixture.schedule(shares, steps)
    taken = np.cumsum(turns[:, None] == np.arange(len(shares)), axis=0)
    asked = np.arange(1, steps + 1)[:, None] * np.array(shares)
    assert np.abs(taken - asked).max() < 1.5
    assert abs(taken[-1] - asked[-1]).max() < 1.5


@given(SHARES, st.integers(1, 200), st.integers(0, 199))
def test_a_schedule_does_not_depend_on_its_length(
    shares: list[float], steps: int, more: int
) -> None:
    assert (mixture.schedule(shares, steps + more)[:steps] == mixture.schedule(shares, steps)).all()


def mixed(**options) -> Mixture:
    return Mixture("all", tuple(Portion(name) for name in ("squad", "sick", "mnli")), **options)


def test_shares_are_those_of_the_definitions() -> None:
    sizes = [800, 100, 100]
    assert mixed().probabilities(sizes) == pytest.approx([0.8, 0.1, 0.1])
    assert mixed(sampling="even").probabilities(sizes) == pytest.approx([1 / 3] * 3)
    roots = np.sqrt(sizes)
    assert mixed(sampling="temperature", temperature=2.0).probabilities(sizes) == pytest.approx(
        list(roots / roots.sum())
    )
    assert mixed(cap=200).probabilities(sizes) == pytest.approx([0.5, 0.25, 0.25])
    assert mixed(shares=(("squad", 0.25),)).probabilities(sizes) == pytest.approx(
        [0.25, 0.375, 0.375]
    )


def test_an_epoch_is_that_of_every_task_and_a_fixed_share_comes_on_top() -> None:
    assert mixed().epoch([800, 100, 90], [8, 10, 20]) == 100 + 10 + 5
    assert mixed(shares=(("squad", 0.5),)).epoch([800, 100, 90], [8, 10, 20]) == 30


def test_a_name_decides_nothing() -> None:
    assert (
        Mixture("one", (Portion("squad"),)).record() == Mixture("two", (Portion("squad"),)).record()
    )


def test_permuting_moves_labels_and_nothing_else() -> None:
    rows = [{"id": str(n), "a": f"text {n}", "b": "b", "label": n % 3} for n in range(300)]
    found = KINDS["pair"].permuted(rows, seed=1)
    assert Counter(row["label"] for row in found) == Counter(row["label"] for row in rows)
    assert [{**row, "label": 0} for row in found] == [{**row, "label": 0} for row in rows]
    same = sum(one["label"] == two["label"] for one, two in zip(rows, found, strict=True))
    assert 60 < same < 140, "about a third agree by chance"
    assert KINDS["pair"].permuted(rows, seed=1) == found


def test_permuted_spans_lie_in_their_context_and_have_the_answers_length() -> None:
    context = "one two three four five six seven eight nine ten"
    rows = [
        {
            "id": str(n),
            "question": "?",
            "context": context,
            "answers": [{"text": "two three", "start": 4}],
        }
        for n in range(50)
    ]
    answers = [row["answers"][0] for row in KINDS["qa"].permuted(rows, seed=3)]
    assert all(
        context[one["start"] :].startswith(one["text"]) and len(one["text"].split()) == 2
        for one in answers
    )
    assert len({one["start"] for one in answers}) > 4


def test_permuted_tags_keep_their_numbers() -> None:
    rows = [
        {"id": "1", "words": ["a", "b"], "tags": [0, 1]},
        {"id": "2", "words": ["c"] * 5, "tags": [2] * 5},
    ]
    found = KINDS["tagging"].permuted(rows, seed=0)
    assert Counter(tag for row in found for tag in row["tags"]) == {0: 1, 1: 1, 2: 5}
    assert [len(row["tags"]) for row in found] == [2, 5]


def test_tasks_with_the_same_labels_share_a_head_and_others_do_not() -> None:
    assert (
        mixture.space(TASKS["mnli"]) == mixture.space(TASKS["xnli"]) == mixture.space(TASKS["sick"])
    )
    spaces = {mixture.space(TASKS[name]) for name in ("mnli", "pawsx", "udpos", "panx", "squad")}
    assert len(spaces) == 5


# -- several kinds trained as one module


SHARE_OF = {"pair": 0.5, "tagging": 0.2, "mlm": 0.3}


def trained(pico_files, pico_tokenizer, checkpointer, *, stop: int | None = None):
    """A module on three kinds of task, 20 steps; gives what came out and how many steps each head
    was trained."""
    adapted, counted = pico.adapted(pico_files), dict.fromkeys(SHARE_OF, 0)
    adapted.add("m", pico.CHOICES["seq_bn"], seed=1)
    heads = {kind: pico.head(kind, above=adapted.encoder) for kind in SHARE_OF}
    for kind, head in heads.items():

        def count(module, inputs, output, kind=kind) -> None:
            counted[kind] += module.training

        head.register_forward_hook(count)
    row = ModuleInTraining(
        "m",
        "m",
        pico.setup(adapted, "m"),
        adapted.trainable("m"),
        {pico.space(kind): head for kind, head in heads.items()},
        1e-2,
    )
    data = [
        replace(pico.data(kind, pico_tokenizer, batch_size=4), share=share)
        for kind, share in SHARE_OF.items()
    ]
    found = pico.train(
        [row],
        data,
        Settings(evaluate_every=10, tokens=4096),
        adapted=adapted,
        fabric=pico.fabric(),
        seed=5,
        total=20,
        checkpointer=checkpointer,
        callback=pico.Callback(stop=stop),
        keep_every=0.0,
    )
    return found[0], counted


def test_every_kind_gets_its_share_of_the_steps(pico_files, pico_tokenizer) -> None:
    found, counted = trained(pico_files, pico_tokenizer, pico.Checkpointer())
    assert counted == {"pair": 10, "tagging": 4, "mlm": 6}
    told = {name.split(".")[0] for name in found.metrics["history"][0]}
    assert told == {"step", "loss", *SHARE_OF}


@pytest.mark.parametrize("stops", [[1], [3, 11], [10, 19]], ids=str)
def test_a_stopped_mixture_goes_on_where_it_was(
    stops, pico_files, pico_tokenizer, monkeypatch
) -> None:
    """Heads whose turn had not come yet among them: the same tensors, history and shares as without
    a stop."""
    monkeypatch.setattr(checkpoint, "time", pico.Clock)
    want, _ = trained(pico_files, pico_tokenizer, pico.Checkpointer())
    checkpointer, taken = pico.Checkpointer(), dict.fromkeys(SHARE_OF, 0)
    for stop in stops:
        with pytest.raises(pico.Stopped):
            trained(pico_files, pico_tokenizer, checkpointer, stop=stop)
    found, counted = trained(pico_files, pico_tokenizer, checkpointer)
    kept = stops[-1] - 1  # the step that was stopped at was not kept
    for kind, turn in zip(SHARE_OF, range(3), strict=True):
        taken[kind] = int((mixture.schedule(list(SHARE_OF.values()), 20)[kept:] == turn).sum())
    assert counted == taken
    assert pico.same(found.tensors, want.tensors)
    assert found.metrics == want.metrics
