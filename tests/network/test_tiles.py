"""The innermost loop of every product: vectors of any width give the same bits, which are those of the plain sums."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from snn_asr.network.kernels.cpu import products, tiles


def added(monkeypatch, vector_bytes: int, dtype: type, index, value, columns) -> np.ndarray:
    """Events times the ``columns`` (D, M), by panels of vectors of that many bytes."""
    monkeypatch.setattr(tiles, "VECTOR_BYTES", vector_bytes)
    width = tiles.panel_width(np.dtype(dtype))
    inputs, outputs = columns.shape
    panels = -(-outputs // width)
    padded = np.zeros((inputs, panels * width), dtype)
    padded[:, :outputs] = columns
    packed = np.ascontiguousarray(padded.reshape(inputs, panels, width).transpose(1, 0, 2))

    @njit
    def run(total, index, value, packed, panels, size, width):
        for panel in range(panels):
            tiles.accumulate(total, panel * width, index, value, 0, index.shape[0], packed, panel * size * width)

    total = np.zeros(panels * width, dtype)
    run(total, index, value, packed, panels, inputs, width)
    return total[:outputs]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_wide_and_narrow_vectors_give_equal_bits(monkeypatch, dtype):
    draw = np.random.default_rng(0)
    columns = draw.standard_normal((37, 150)).astype(dtype)
    index = np.flatnonzero(draw.random(37) < 0.5).astype(np.int32)
    value = draw.standard_normal(len(index)).astype(dtype)
    found = [added(monkeypatch, width, dtype, index, value, columns) for width in (16, 32, 64)]
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[1], found[2])
    np.testing.assert_allclose(found[0], value @ columns[index], rtol=1e-4 if dtype is np.float32 else 1e-12)


def test_sums_of_dyadic_numbers_are_exact(monkeypatch):
    draw = np.random.default_rng(1)
    columns, value = (draw.integers(-8, 9, size).astype(np.float32) / 16 for size in ((20, 70), 20))
    index = np.arange(20, dtype=np.int32)
    for width in (32, 64):
        assert np.array_equal(added(monkeypatch, width, np.float32, index, value, columns), value @ columns)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 15, 16, 17, 64, 65, 130])
def test_events_are_all_that_is_not_zero_in_its_order(dtype, size):
    """NaN is an event, -0 is none; sizes cross the borders of vectors and of blocks."""
    draw = np.random.default_rng(size)
    for density in (0, 0.3, 1):
        given = (draw.standard_normal(size) * (draw.random(size) < density)).astype(dtype)
        given[::9] = draw.choice([np.nan, -0.0, 1e-40], len(given[::9]))
        index, value, splits = products.event_buffers(2, size, given)
        products.find_events(given, 1, index, value, splits)
        expected = np.flatnonzero(given != 0)
        assert np.array_equal(index[1, : len(expected)], expected)
        assert np.array_equal(value[1, : len(expected)], given[expected], equal_nan=True)
        assert splits[1].tolist() == [np.sum(expected < products.BLOCK * each) for each in range(splits.shape[1])]
