"""GROUPING and QUALITY."""

from __future__ import annotations

import numpy as np

from skyfold.xray.grouping import display_bins, group_counts, groups
from skyfold.xray.grouping_schemes import fwhm, optimal_width, regrouped
from skyfold.xray.simulate import ccd_fwhm, ccd_response, fakeit


def test_plain_groups() -> None:
    divided = groups(np.array([1, -1, -1, 1, 0, 0, 1, -1]), np.zeros(8))
    np.testing.assert_array_equal(divided.of_channel, [0, 0, 0, 1, 2, 3, 4, 4])
    np.testing.assert_array_equal(divided.first, [0, 3, 4, 5, 6])
    np.testing.assert_array_equal(divided.last, [2, 3, 4, 5, 7])
    np.testing.assert_array_equal(divided.sum(np.arange(8)), [3, 3, 4, 5, 13])


def test_a_bad_channel_parts_its_group() -> None:
    divided = groups(np.array([1, -1, -1, -1, 1, -1]), np.array([0, 5, 5, 0, 0, 2]))
    np.testing.assert_array_equal(divided.of_channel, [0, -1, -1, 1, 2, -1])
    np.testing.assert_array_equal(divided.first, divided.last)
    np.testing.assert_array_equal(divided.first, [0, 3, 4])


def test_edge_cases() -> None:
    assert len(groups(np.array([1, -1]), np.ones(2))) == 0
    assert len(groups(np.array([], int), np.array([], int))) == 0
    np.testing.assert_array_equal(groups(np.array([-1, -1, 1]), np.zeros(3)).of_channel, [0, 0, 1])


def test_take_renumbers() -> None:
    divided = groups(np.array([1, -1, 1, 1, -1]), np.zeros(5)).take(np.array([0, 2]))
    np.testing.assert_array_equal(divided.of_channel, [0, 0, -1, 1, 1])
    np.testing.assert_array_equal(divided.sum(np.ones(5)), [2, 2])


def test_least_counts() -> None:
    grouping, quality = group_counts(np.array([3, 8, 1, 20, 5, 5, 1]), 10)
    np.testing.assert_array_equal(grouping, [1, -1, 1, -1, 1, -1, 1])
    np.testing.assert_array_equal(quality, [0, 0, 0, 0, 0, 0, 2])
    divided = groups(grouping, quality)
    np.testing.assert_array_equal(divided.sum(np.array([3, 8, 1, 20, 5, 5, 1])), [11, 21, 10])


def test_display_bins_reach_the_significance() -> None:
    counts = np.array([100, 4, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1])
    bins = display_bins(counts, counts, 5, 10)
    np.testing.assert_array_equal(bins, [0, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2])
    assert display_bins(counts, counts, 100, 3).max() == 3


def test_optimal_width_by_hand() -> None:
    """One element: x = ln N. Where few counts tell nothing finer, a bin is as wide as the line."""
    assert optimal_width(np.array([8.0]), 1.0) == 1.0
    assert abs(optimal_width(np.exp([2.119]), 1.0)[0] - 1.0) < 1e-3
    # x = 10: (0.08 + 0.7 + 0.018) / 1.59; x = 5: (0.08 + 1.4 + 0.072) / 2.18
    np.testing.assert_allclose(optimal_width(np.exp([10.0, 5.0]), 1.0), [0.798 / 1.59, 1.552 / 2.18], rtol=1e-12)
    # a hundred elements: N (1 + 0.2 ln 100)
    np.testing.assert_allclose(
        optimal_width(np.array([100.0]), 100.0), optimal_width(np.array([100.0 * (1 + 0.2 * np.log(100.0))]), 1.0)
    )


def test_optimal_bins_follow_resolution_and_counts() -> None:
    rmf, arf = ccd_response(energy_step=0.01, channel_width=0.01, n_channels=1000)
    middle = rmf.bounds.mean(axis=1)
    seen = (middle > 0.5) & (middle < 8.0)
    np.testing.assert_allclose(fwhm(rmf)[seen], ccd_fwhm(middle[seen]), atol=0.021)

    class Light:
        def photon_flux(self, edges: np.ndarray) -> np.ndarray:
            return 1e-2 * np.diff(edges)

    noticed = groups(np.zeros(1000, int), (~seen).astype(int))
    widths = {}
    for exposure in (4.0, 1e5):
        pha = fakeit(Light(), rmf, arf, exposure, seed=3).source
        divided = regrouped(pha, None, rmf, noticed, "optimal")
        assert (divided.of_channel >= 0).sum() == seen.sum()
        centre = middle[(divided.first + divided.last) // 2]
        width = 0.01 * (divided.last - divided.first + 1)
        widths[exposure] = np.interp([1.0, 3.0, 6.0], centre, width)
        least = regrouped(pha, None, rmf, noticed, "optmin:30")
        assert least.sum(pha.counts).min() >= 30
    few, many = widths.values()
    # a flat spectrum of few counts: about the line's width; of many: about half of it
    np.testing.assert_allclose(few / ccd_fwhm([1.0, 3.0, 6.0]), 0.9, atol=0.25)
    assert np.all(many < 0.75 * few) and np.all(many > 0.3 * ccd_fwhm([1.0, 3.0, 6.0]))
