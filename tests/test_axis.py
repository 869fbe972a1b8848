"""Axes of observations, and that the core's figures take everything of the data from them."""

from __future__ import annotations

import numpy as np
import pytest
from toy_results import toy_spectrum
from toys import image, photometry

import skyfold as sf
from skyfold import galaxy, gammaray
from skyfold.axis import Axis
from skyfold.plots.display import display_table, labels


def test_data_without_a_place_are_numbered() -> None:
    axis = image().axis
    np.testing.assert_array_equal(axis.low + 0.5, np.arange(image().n_data) + 1)
    assert (axis.label, axis.unit, axis.data_label, axis.logarithmic) == ("datum", "", "data", False)


def test_axes_of_the_domains() -> None:
    bands = galaxy.Photometry([galaxy.Filter("a", [4000.0, 5000.0, 6000.0], [0.0, 1.0, 0.0])], [3.0], [0.1])
    assert bands.axis.unit == "Angstrom" and bands.axis.data_unit == "nJy"
    np.testing.assert_allclose([bands.axis.low[0], bands.axis.high[0]], [4500.0, 5500.0], atol=2.1)
    wave = np.array([4000.0, 4010.0, 4030.0])
    pixels = galaxy.Spectroscopy(wave, np.ones(3), np.ones(3), 2000.0)
    np.testing.assert_array_equal(pixels.axis.low[1:], pixels.axis.high[:-1])
    assert np.all((pixels.axis.low < wave) & (wave < pixels.axis.high))
    lines = galaxy.LineFluxes(["H_alpha", "H_beta"], [3.0, 1.0], [0.1, 0.1])
    assert lines.axis.label == "line" and len(lines.axis.low) == 2
    sky = gammaray.CountsMap.read(np.ones(12 * 4**2))
    assert sky.axis.label == "fitted pixel" and len(sky.axis.low) == sky.n_data
    both = galaxy.MassMarginal(bands, galaxy.Photometry(bands.filters, [4.0], [0.2]))
    assert both.axis.unit == "Angstrom" and len(both.axis.low) == 2
    assert galaxy.MassMarginal(bands, lines).axis.label == "datum"


def test_labels_that_fit_all() -> None:
    one = labels([toy_spectrum(), toy_spectrum()])
    assert one == {"x": "Energy [keV]", "y": "counts s$^{-1}$ keV$^{-1}$", "logarithmic": True}
    assert labels([toy_spectrum(), photometry()]) == {"x": "datum", "y": "data", "logarithmic": False}


def test_an_axis_of_ones_own() -> None:
    """Any observation whose axis says so is shown as a rate, in its own words."""

    class Clocked(type(image())):
        @property
        def axis(self) -> Axis:
            ends = np.arange(self.n_data + 1.0)
            return Axis(ends[:-1], ends[1:], "Time [s]", "s", "rate [ct/s]", "ct / s", np.full(self.n_data, 0.5))

    given = image()
    clock = Clocked(given.likelihood, given.annotation, given.pixels, given.exposure)
    table = display_table("clock", clock, np.asarray(clock.data)[None], np.asarray(clock.data))
    np.testing.assert_allclose(table["data"], 0.5 * clock.data)
    assert table.units["x_low"] == "s" and table.units["best"] == "ct / s" and "residual" not in table.units
    assert labels([clock])["x"] == "Time [s]"


def test_mean_of_every_toy_is_what_it_predicts() -> None:
    observation = image()
    assert observation.mean(observation.data) is observation.data
    with pytest.raises(NotImplementedError):
        sf.Observation.predict(observation, None)
