"""Notation: numbers with errors, units and names on axes."""

from __future__ import annotations

import pytest

from skyfold.results.notation import axis_label, interval, name_latex, scale_of, unit_latex, with_errors


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.74512, 0.0356, 0.0341), ("0.745", "+0.036 -0.034")),
        ((2.62e-4, 2.7e-5, 2.6e-5), ("2.62e-04", "+2.7e-05 -2.6e-05")),
        ((12345.6, 432.0, 410.0), ("12346", "+432 -410")),
        ((3.2e39, 8e37, 9e37), ("3.200e+39", "+8.0e+37 -9.0e+37")),
        ((1.5, 0.0, 0.0), ("1.5", "-")),
        ((float("nan"), 1.0, 1.0), ("-", "-")),
        ((0.0, 0.02, 0.02), ("0.000", "+0.020 -0.020")),
    ],
)
def test_numbers_to_the_digits_of_their_errors(numbers, text) -> None:
    assert with_errors(*numbers) == text


def test_interval() -> None:
    assert interval(0.6912, 0.8051, 0.07) == "0.691 .. 0.805"
    assert interval(3.7e-5, 1.02e-3, 5e-4) == "0.00004 .. 0.00102"
    assert interval(2.18e-4, 3.06e-4, 5e-5) == "2.18e-04 .. 3.06e-04"


@pytest.mark.parametrize(
    ("unit", "latex"),
    [
        ("photons/keV/cm^2/s", "photons keV$^{-1}$ cm$^{-2}$ s$^{-1}$"),
        ("ph / (keV cm2 s)", "ph keV$^{-1}$ cm$^{-2}$ s$^{-1}$"),
        ("1e22 cm-2", "10$^{22}$ cm$^{-2}$"),
        ("0.01 km2 / kpc2", "0.01 km$^{2}$ kpc$^{-2}$"),
        ("km^2/(10 kpc)^2", "km$^{2}$/(10 kpc)$^{2}$"),
        ("erg cm**-2 s**-1", "erg cm$^{-2}$ s$^{-1}$"),
        ("$weird units$", r"\$weird units\$"),
        ("", ""),
    ],
)
def test_units(unit, latex) -> None:
    assert unit_latex(unit) == latex


def test_axis_labels() -> None:
    assert axis_label("tbabs.nH", "1e22 cm-2") == "tbabs\n$N_\\mathrm{H}$\n[10$^{22}$ cm$^{-2}$]"
    assert axis_label("powerlaw.norm", "ph/s", -4, lines=False) == "powerlaw norm [$10^{-4}$ ph s$^{-1}$]"
    assert axis_label("x", "", logarithm=True, lines=False) == "$\\log_{10}$ x"
    assert name_latex("vector.x[0]") == ("vector", "x[0]")
    assert name_latex("powerlaw.PhoIndex[1]") == ("powerlaw", r"$\Gamma$[1]")
    assert [scale_of(0, top) for top in (0.0, 0.05, 1.0, 9e3, 2e4, 3e-4)] == [0, 0, 0, 0, 4, -4]
