"""Mining against a search over all pairs, on random sentences and on cosines full of ties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapters_xitt.errors import XittError
from adapters_xitt.metrics.mining import Neighbours, above, fit_threshold, margins, mine
from adapters_xitt.metrics.retrieval import Bucc

many = settings(max_examples=1000, deadline=None)


def nearest(cosines, k):
    indices = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
    return Neighbours(cosines=np.take_along_axis(cosines, indices, axis=1), indices=indices)


def brute_margins(cosines, k):
    """{(x, y): margin} of all pairs, and the k nearest of each row and of each column, by sorting
    and plain sums."""
    rows, columns = cosines.tolist(), cosines.T.tolist()
    near = [
        [sorted(range(len(line)), key=lambda at, line=line: -line[at])[:k] for line in side]
        for side in (rows, columns)
    ]
    means = [
        [sum(line[at] for at in best) / len(best) for line, best in zip(side, there, strict=True)]
        for side, there in ((rows, near[0]), (columns, near[1]))
    ]
    scores = {}
    for x, line in enumerate(rows):
        for y, cosine in enumerate(line):
            around = (means[0][x] + means[1][y]) / 2
            scores[x, y] = cosine / around if around else 0.0
    return scores, near


def brute(cosines, k):
    """[(x, y, margin)]: the greatest margin of the pool, again and again, among pairs with two free
    sentences."""
    scores, near = brute_margins(cosines, k)
    pool = [(x, max(ys, key=lambda y, x=x: scores[x, y])) for x, ys in enumerate(near[0])]
    pool += [(max(xs, key=lambda x, y=y: scores[x, y]), y) for y, xs in enumerate(near[1])]
    found = []
    while pool:
        best = max(pool, key=scores.__getitem__)
        if scores[best] > 0:
            found.append((*best, scores[best]))
        pool = [pair for pair in pool if pair[0] != best[0] and pair[1] != best[1]]
    return found


def check(cosines, k):
    forward, backward = nearest(cosines, k), nearest(cosines.T, k)
    scores, _ = brute_margins(cosines, k)
    for side, order in ((margins(forward, backward), 1), (margins(backward, forward), -1)):
        near = (forward if order == 1 else backward).indices
        want = [[scores[(a, int(b))[::order]] for b in near[a]] for a in range(len(near))]
        np.testing.assert_allclose(side, want, rtol=1e-9, atol=1e-9)
    pairs, found = mine(forward, backward)
    want = brute(cosines, k)
    assert [tuple(pair) for pair in pairs.tolist()] == [(x, y) for x, y, _ in want]
    np.testing.assert_allclose(found, [score for _, _, score in want], rtol=1e-9)


@many
@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_mining_of_sentences_is_the_search_over_all_pairs(sources, targets, k, seed):
    random = np.random.default_rng(seed)
    x, y = random.normal(size=(sources, 5)) + 1, random.normal(size=(targets, 5)) + 1
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in (x, y))
    check(x @ y.T, k)


@many
@given(st.integers(1, 8), st.integers(1, 8), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_ties_and_negative_cosines(sources, targets, k, seed):
    # Eighths add up without rounding, so equal margins are equal in any order of addition.
    check(np.random.default_rng(seed).integers(-3, 9, size=(sources, targets)) / 8, k)


def test_nothing_stands_out():
    near = Neighbours(cosines=np.zeros((2, 1)), indices=np.zeros((2, 1), int))
    pairs, scores = mine(near, near)
    assert pairs.shape == (0, 2)
    assert scores.shape == (0,)


@pytest.mark.parametrize(
    ("cosines", "indices", "message"),
    [
        (np.zeros((0, 4)), np.zeros((0, 4), int), "no sentence with a neighbour"),
        (np.array([[np.nan]]), np.array([[0]]), "not a finite number"),
        (np.array([[0.5]]), np.array([[-1]]), r"a neighbour outside 0\.\.0"),
        (np.array([[0.5]]), np.array([[1]]), r"a neighbour outside 0\.\.0"),
    ],
)
def test_refused(cosines, indices, message):
    with pytest.raises(XittError, match=message):
        mine(Neighbours(cosines, indices), Neighbours(np.ones((1, 1)), np.zeros((1, 1), int)))


# -- the threshold

scored = st.dictionaries(
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.integers(1, 40).map(lambda n: n / 8),
    min_size=1,
    max_size=12,
)
truth = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=8)


def f1_of(pairs, gold):
    return Bucc().score(list(pairs), gold)["f1"]


@many
@given(scored, truth)
@example({(0, 0): 1.0}, [(0, 0)])
def test_threshold_is_half_way_after_the_best_prefix(found, gold):
    pairs, scores = list(found), list(found.values())
    ranked = sorted(found.items(), key=lambda item: -item[1])
    prefixes = [
        f1_of([pair for pair, _ in ranked[:size]], gold) for size in range(1, len(ranked) + 1)
    ]
    threshold = fit_threshold(pairs, scores, gold)
    if not max(prefixes):
        assert threshold == 0
        return
    size = next(n for n, f1 in enumerate(prefixes, 1) if f1 > max(prefixes) - 1e-9)
    ends = [score for _, score in ranked[size - 1 : size + 1]]
    assert threshold == pytest.approx(sum(ends) / len(ends), abs=1e-9)
    assert above(pairs, scores, threshold) == [pair for pair in pairs if found[pair] >= threshold]


@many
@given(scored, truth)
def test_no_threshold_is_better_on_dev(found, gold):
    pairs = list(found)
    scores = [score + n / 1000 for n, score in enumerate(found.values())]  # no ties
    best = max(f1_of(above(pairs, scores, at), gold) for at in scores)
    assert f1_of(above(pairs, scores, fit_threshold(pairs, scores, gold)), gold) == pytest.approx(
        best, abs=1e-9
    )


def test_threshold_takes_ids_and_needs_gold():
    pairs, scores = (
        [("de-1", "en-7"), ("de-2", "en-8"), ("de-3", "en-9")],
        np.array([1.5, 1.25, 0.75]),
    )
    assert fit_threshold(pairs, scores, [["de-1", "en-7"], ["de-2", "en-8"]]) == 1.0
    with pytest.raises(XittError, match="no gold pair"):
        fit_threshold(pairs, scores, [])
