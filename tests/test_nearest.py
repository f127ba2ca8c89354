"""Exact search in blocks against one whole sorted matrix of products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters_xitt.kinds.nearest import both_ways, nearest, unit_length


def whole(one, other, k):
    products = one.astype(np.float64) @ other.astype(np.float64).T
    places = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, places, axis=1), places


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(4, 2000),
    st.integers(0, 10**6),
)
def test_blocks_of_any_size_find_what_one_sort_finds(left, right, k, memory, seed):
    """Whole numbers, so that products are exact and ties are many: of equals the earlier comes
    first."""
    draw = np.random.default_rng(seed)
    one, other = (draw.integers(-2, 3, (size, 3)).astype(np.float32) for size in (left, right))
    forward, backward = both_ways(torch.from_numpy(one), torch.from_numpy(other), k, memory=memory)
    for (values, places), (a, b) in ((forward, (one, other)), (backward, (other, one))):
        want_values, want_places = whole(a, b, k)
        assert np.array_equal(values.numpy(), want_values)
        assert np.array_equal(places.numpy(), want_places)


def test_real_vectors_and_a_zero():
    draw = np.random.default_rng(3)
    one, other = (draw.standard_normal((300, 16)).astype(np.float32) for _ in range(2))
    one[7] = 0
    left, right = unit_length(one), unit_length(other)
    assert left[7].abs().sum() == 0 and left[8].norm().item() == pytest.approx(1)
    values, places = nearest(left, right, 5, memory=4 * 50 * 50)
    want, where = whole(left.numpy(), right.numpy(), 5)
    rows = np.arange(300) != 7
    assert np.allclose(values, want, atol=1e-6) and np.array_equal(places[rows], where[rows])
