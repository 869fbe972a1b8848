"""Figures: each is drawn from its table, for every kind of observation and draws, and says what it must."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_results import TRUTH, ToySpectrum, chains, source, toy_spectrum, weighted
from toys import Greybody, direct, image, photometry, sky

import skyfold as sf
from skyfold import plots
from skyfold.plots.display import display_table
from skyfold.results.predictive import drawn_data

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")


@pytest.fixture(scope="module")
def counts() -> sf.Result:
    posterior = sf.Posterior((source(), toy_spectrum(background=True)))
    return sf.Result(posterior, weighted(posterior, TRUTH))


@pytest.fixture(scope="module")
def bands() -> sf.Result:
    posterior = sf.Posterior((Greybody(), photometry()))
    return sf.Result(posterior, chains(posterior, {"greybody.amplitude": 4.0, "greybody.temperature": 5.5}))


def draw(figure):
    """Draw a figure and return what it was drawn with."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def texts(figure) -> list[str]:
    draw(figure)
    return [t.get_text() for t in figure.findobj(matplotlib.text.Text) if t.get_visible() and t.get_text()]


def ticks_apart(figure) -> bool:
    """Whether no two tick labels of one axis overlap."""
    renderer = draw(figure)
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            shown = [t for t in axis.get_ticklabels() if t.get_visible() and t.get_text()]
            low, high = axis.get_view_interval()
            shown = [t for t in shown if low <= t.get_position()[axis is ax.yaxis] <= high]
            if any(t.get_rotation() not in (0.0, 90.0) for t in shown):
                continue
            boxes = [t.get_window_extent(renderer) for t in shown]
            if any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]):
                return False
    return True


@pytest.mark.parametrize("name", ["corner", "spectrum", "model", "trace", "prior_predictive"])
def test_every_figure_of_a_spectrum(counts, name) -> None:
    figure = getattr(counts, f"plot_{name}")()
    assert ticks_apart(figure)
    assert "NOT CONVERGED" not in " ".join(texts(figure))
    table = counts.plot_data(name)
    assert len(table) > 50 and table.meta["figure"] == name


@pytest.mark.parametrize("name", ["corner", "spectrum", "trace", "prior_predictive"])
def test_every_figure_of_photometry(bands, name) -> None:
    figure = getattr(bands, f"plot_{name}")()
    assert ticks_apart(figure)


def test_labels_of_the_spectrum(counts) -> None:
    found = texts(counts.plot_spectrum())
    for text in (
        "Energy [keV]",
        "counts s$^{-1}$ keV$^{-1}$",
        "data / model",
        "best fit",
        "slope",
        "bump",
        "background (not fitted)",
        "detector",
    ):
        assert text in found
    assert any("deviance" in t for t in found)


def test_numbers_of_the_spectrum(counts) -> None:
    table = counts._table("spectrum", min_significance=5.0, max_bins=50)
    observation = counts.posterior.pairs["detector"][1]
    widths = (table["x_high"] - table["x_low"]) * float(observation.exposure)
    # counts are kept, and significant
    counted = np.round(table["data"] * widths, 6)
    assert counted.sum() == pytest.approx(observation.data.sum())
    assert len(table) < observation.n_data and np.median(counted) >= 25
    expected = np.asarray(counts.posterior.predict(counts.best_latent)["detector"])
    assert (table["best"] * widths).sum() == pytest.approx(expected.sum())
    parts = table["component:slope"] + table["component:bump"]
    np.testing.assert_allclose(parts, table["best"], rtol=1e-6)
    # errors are the central 68% of a Poisson mean
    from scipy.stats import poisson

    low, high = counted - table["error_low"] * widths, counted + table["error_high"] * widths
    np.testing.assert_allclose(poisson.sf(counted - 1, low), 0.158655, rtol=1e-4)
    np.testing.assert_allclose(poisson.cdf(counted, high), 0.158655, rtol=1e-4)
    # 68% and 95% of the data lie in the predictive bands
    inside = (table["data"] >= table["predictive_q025"]) & (table["data"] <= table["predictive_q975"])
    assert 0.88 < inside.mean() <= 1
    assert np.all(table["predictive_q975"] >= table["model_q975"])
    assert 0.7 < np.std(table["residual"]) < 1.3
    assert table.units["data"] == "ct / (s keV)" and table.units["x_low"] == "keV"


def test_bins_do_not_bridge_gaps() -> None:
    from skyfold.plots.display import display_table

    whole = toy_spectrum()
    kept = np.r_[0:40, 80:160]

    class Holed(type(whole)):
        @property
        def edges(self):
            return super().edges[kept]

        @property
        def rate_factor(self):
            return super().rate_factor[kept]

    from skyfold.likelihoods.poisson import Poisson

    holed = Holed(Poisson(whole.data[kept]), whole.annotation, whole.energies, whole.exposure, whole.area)
    table = display_table("x", holed, np.asarray(holed.data)[None], min_significance=30.0, max_bins=50)
    gap = whole.edges[40, 0], whole.edges[79, 1]
    assert not np.any((table["x_low"] < gap[0] * 0.999) & (table["x_high"] > gap[1]))
    assert len(table) < 60


def test_residuals_of_gaussian_data(bands) -> None:
    table = bands._table("spectrum")
    observation = photometry()
    expected = np.asarray(bands.posterior.predict(bands.best_latent)["bands"])
    np.testing.assert_allclose(table["residual"], (observation.data - expected) / observation.likelihood.sigma)
    found = texts(bands.plot_spectrum())
    assert any("data $-$ model" in t for t in found) and "datum" in found


def test_several_observations() -> None:
    first, second = toy_spectrum(name="one"), toy_spectrum(name="two", seed=9, exposure=8e3)
    model = source()
    posterior = sf.Posterior((model, first), (model, second))
    result = sf.Result(posterior, weighted(posterior, TRUTH))
    found = texts(result.plot_spectrum())
    assert "one" in found and "two" in found
    assert set(result.plot_data("spectrum")["observation"]) == {"one", "two"}
    mixed = sf.Posterior((Greybody(), photometry()), (sky(), image()))
    plots.prior_predictive(mixed, n=50)


def test_model_without_the_instrument(counts) -> None:
    table = counts._table("model")
    energy = np.sqrt(table["x_low"] * table["x_high"])
    index, norm = counts.best["slope.index"], counts.best["slope.norm"]
    expected = norm * energy**-index * np.exp(-counts.best["screen.nH"] * energy**-3.0)
    np.testing.assert_allclose(table["component:slope"], expected, rtol=1e-3)
    np.testing.assert_allclose(table["component:slope"] + table["component:bump"], table["best"], rtol=1e-9)
    assert table.units["best"] == "ph / (cm2 s keV)"
    assert any("unabsorbed" in t for t in texts(counts.plot_model(absorbed=False, kind="photons", low=0.3, high=12)))
    with pytest.raises(sf.SkyfoldError, match="kind is one of"):
        counts.plot_model(kind="flux")


class FromZero(ToySpectrum):
    """A detector whose first channel begins at 0 keV."""

    @property
    def edges(self) -> np.ndarray:
        return np.where(np.arange(2 * len(self.area)).reshape(-1, 2) == 0, 0.0, super().edges)


def test_model_of_data_from_zero(counts) -> None:
    """The curve begins where the model is evaluated."""
    toy = toy_spectrum()
    spectrum = FromZero(toy.likelihood, toy.annotation, toy.energies, toy.exposure, toy.area)
    table = sf.Result(sf.Posterior((source(), spectrum)), counts.draws)._table("model")
    assert spectrum.edges.min() == 0.0
    assert table["x_low"][0] == pytest.approx(toy.energies[0])
    for low, high in ((0.0, None), (-1.0, 3.0), (5.0, 2.0), (None, np.inf), (np.nan, 3.0)):
        with pytest.raises(sf.SkyfoldError, match="positive, finite, increasing"):
            counts.plot_model(low=low, high=high)


def test_counts_too_many_to_draw(counts) -> None:
    """No replicated data, no predictive bands; the rest is drawn."""
    name, (_, observation) = next(iter(counts.posterior.pairs.items()))
    expected = np.full((4, observation.n_data), 1e50)
    drawn = drawn_data(observation.replicate, np.random.default_rng(0), expected)
    table = display_table(name, observation, expected, expected[0], drawn=drawn)
    assert "model_q16" in table and "predictive_q16" not in table


def test_model_needs_energies(bands) -> None:
    with pytest.raises(sf.SkyfoldError, match="not an observation of energies"):
        bands.plot_model()


def test_corner(counts) -> None:
    figure = counts.plot_corner(truths=TRUTH)
    assert len(figure.axes) == 10
    found = texts(figure)
    assert any("N_\\mathrm{H}" in t and "10$^{22}$" in t for t in found)
    assert any("^{+" in t for t in found)
    assert len(counts.plot_corner(parameters=["slope.index", "bump.norm"]).axes) == 3
    with pytest.raises(sf.SkyfoldError, match="Did you mean 'slope.index'"):
        counts.plot_corner(parameters=["slope.indx"])
    with pytest.raises(sf.SkyfoldError, match="is no "):
        counts.plot_corner(truths={"nowhere": 1.0})


def test_corner_of_many_and_of_wide_parameters() -> None:
    n = 15
    posterior = direct(list(np.zeros(n)), [1.0] * n, sf.Normal(np.zeros(n), np.ones(n)))
    result = sf.Result(posterior, chains(posterior, n=300))
    figure = result.plot_corner()
    assert len(figure.axes) == 78 and "the first 12 of 15 parameters" in texts(figure)
    assert len(result.plot_corner(parameters=["vector.x"]).axes) == 120
    wide = direct([1e-3], [1e-3], sf.LogUniform(1e-8, 1.0))
    assert any("log" in t for t in texts(sf.Result(wide, weighted(wide)).plot_corner()))


@pytest.mark.parametrize("name", ["corner", "spectrum", "model", "trace"])
def test_no_convergence_is_in_the_title(counts, name) -> None:
    draws = replace(counts.draws, converged=False, messages=("k-hat is 1.3",))
    found = texts(getattr(sf.Result(counts.posterior, draws), f"plot_{name}")())
    assert any("NOT CONVERGED" in t and "k-hat is 1.3" in t for t in found)


def test_point_estimates(tmp_path: Path) -> None:
    posterior = sf.Posterior((source(), toy_spectrum()))
    result = posterior.fit("mle")
    with pytest.raises(sf.SkyfoldError, match="single point"):
        result.plot_corner()
    files = result.save_figures(tmp_path)
    assert {f.name for f in files} == {"spectrum.png", "spectrum.pdf", "model.png", "model.pdf"}


def test_saved_figures(counts, tmp_path: Path) -> None:
    files = counts.save_figures(tmp_path / "figures")
    assert {f.name for f in files} == {
        f"{n}.{e}" for n in ("corner", "spectrum", "model", "trace") for e in ("png", "pdf")
    }
    assert all(f.stat().st_size > 5000 for f in files)
    from matplotlib.image import imread

    assert imread(tmp_path / "figures" / "spectrum.png").shape[1] == pytest.approx(6.6 * 300, abs=2)


def test_tables_are_written_as_ecsv(counts, tmp_path: Path) -> None:
    from astropy.table import Table

    counts.plot_data("spectrum").write(tmp_path / "spectrum.ecsv")
    table = Table.read(tmp_path / "spectrum.ecsv")
    assert str(table["data"].unit) == "ct / (keV s)" and table["x_low"].unit == "keV"
    assert table.meta["residual"] == "deviance"


def test_unknown_figures_and_options(counts) -> None:
    with pytest.raises(sf.SkyfoldError, match="Did you mean 'corner'"):
        counts.plot_data("cornr")
    with pytest.raises(sf.SkyfoldError, match="min_significance"):
        counts.plot_data("spectrum", significance=3)


def test_no_figure_needs_pyplot() -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from toys import direct; from toy_results import weighted; import skyfold as sf\n"
        "p = direct([1.0], [0.5], sf.Normal(0, 1)); r = sf.Result(p, weighted(p, n=500))\n"
        "r.plot_corner(); r.plot_spectrum(); r.plot_trace()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_steps_break_at_gaps() -> None:
    from skyfold.plots.style import steps

    x, y = steps(np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 5.0]), np.array([7.0, 8.0, 9.0]))
    np.testing.assert_array_equal(x, [1, 2, 2, 3, 3, 4, 5])
    np.testing.assert_array_equal(y, [7, 7, 8, 8, np.nan, 9, 9])


@pytest.mark.parametrize(
    ("low", "high"), [(0.5, 8.0), (1e-4, 1e3), (0.9, 1.6), (1e-9, 3e-6), (3.0, 200.0), (1e-20, 1.0)]
)
def test_logarithmic_axes_have_a_few_labels(low, high) -> None:
    from skyfold.plots.style import context, log_axis, new_figure

    with context():
        figure = new_figure(4, 3)
        ax = figure.subplots()
        log_axis(ax.yaxis, low, high)
    shown = [t for t in ax.get_yticks() if low <= t <= high]
    assert 2 <= len(shown) <= 9
    assert ticks_apart(figure)


def test_titles_of_a_corner_say_what_the_table_says(counts) -> None:
    wide = direct([0.0], [1e-3], sf.LogUniform(1e-6, 1.0))
    result = sf.Result(wide, weighted(wide))
    (m,) = result.marginals
    assert m.limit == "upper"
    (title,) = (a.get_title() for a in result.plot_corner().axes)
    number, power = re.fullmatch(r"\$< ([\d.]+)\\times10\^\{(-?\d+)\}\$", title).groups()
    assert float(number) * 10.0 ** int(power) == pytest.approx(m.q95, rel=0.05)
    titles = [a.get_title() for a in counts.plot_corner().axes if a.get_title()]
    for m, title in zip(counts.marginals, titles, strict=True):
        assert ("<" in title, ">" in title) == (m.limit == "upper", m.limit == "lower")


def test_titles_of_logarithmic_axes_are_of_the_parameter_itself() -> None:
    posterior = direct([0.1], [0.06], sf.LogUniform(1e-8, 1.0))
    latent = 0.3 * np.random.default_rng(3).standard_normal((1, 4000, 1))
    draws = replace(weighted(posterior), latent=latent, log_likelihood=np.zeros((1, 4000)), log_weights=None)
    result = sf.Result(posterior, draws)
    (m,) = result.marginals
    (axes,) = result.plot_corner().axes
    assert not m.limit and "log" in axes.get_xlabel()
    value, power = re.match(r"\$([\d.]+)\^.*?(?:\\times10\^\{(-?\d+)\})?\$$", axes.get_title()).groups()
    assert float(value) * 10.0 ** int(power or 0) == pytest.approx(m.median, rel=0.05)
