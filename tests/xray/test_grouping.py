"""GROUPING and QUALITY."""

from __future__ import annotations

import numpy as np

from skyfold.xray.grouping import display_bins, group_counts, groups


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
