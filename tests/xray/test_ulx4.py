"""NGC 7793 ULX-4, the published benchmark: best fit and posterior against an independent program."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import skyfold as sf
from skyfold import xray
from skyfold.parameters import Value, parameter
from skyfold.xray.models import BlackbodyRad, PowerLaw, TBabs
from skyfold.xray.models.spectral import Multiplicative

BEST = {"kT": 0.742, "norm": 0.1976, "PhoIndex": 2.025, "norm_2": 2.604e-4, "nH": 0.0940}
#: mean, sd, 5% and 95% of the reference posterior (33,000 effective draws)
REFERENCE = {
    "bbodyrad.kT": (0.7458, 0.0348, 0.691, 0.805),
    "bbodyrad.norm": (0.1983, 0.0350, 0.146, 0.262),
    "powerlaw.PhoIndex": (2.035, 0.100, 1.877, 2.207),
    "powerlaw.norm": (2.625e-4, 2.62e-5, 2.19e-4, 3.06e-4),
    "tbabs.nH": (0.0961, 0.0272, 0.050, 0.141),
}


@pytest.fixture(scope="module")
def pn(shared: Path) -> xray.Spectrum:
    path = shared / "data/xray/ngc7793_ulx4/PN_spectrum_grp20.fits"
    return xray.Spectrum.read(path, background="none").notice(0.5, 8.0)


@pytest.fixture(scope="module")
def posterior(pn: xray.Spectrum) -> sf.Posterior:
    source = TBabs(nH=sf.Uniform(0, 1)) * (
        PowerLaw(PhoIndex=sf.Uniform(0, 5), norm=sf.LogUniform(1e-6, 1e-3))
        + BlackbodyRad(kT=sf.Uniform(0, 5), norm=sf.LogUniform(1e-2, 1e2))
    )
    return sf.Posterior((source, pn))


def test_the_noticed_groups(pn) -> None:
    assert pn.n_data == 102
    assert pn.data.sum() == 10091


class TableAtBinCentres(Multiplicative):
    """A published absorption table, read at the centres of the bins."""

    name: ClassVar[str] = "table"
    energy: np.ndarray
    sigma: np.ndarray
    nH: Value = parameter(0.0)

    def evaluate(self, edges: jax.Array) -> jax.Array:
        centres = 0.5 * (edges[1:] + edges[:-1])
        return jnp.exp(-self.nH * jnp.interp(centres, self.energy, self.sigma))


def test_the_printed_statistic_with_the_reference_program_s_absorption(pn, shared) -> None:
    """C = 96.29 at the printed best fit, with the reference's own table evaluated as the reference did."""
    from astropy.io import fits

    with fits.open(shared / "data/tables/xsect_tbabs_wilm.fits") as file:
        energy, sigma = (np.asarray(file[1].data[c], dtype=float) for c in ("ENERGY", "SIGMA"))
    light = PowerLaw(BEST["PhoIndex"], BEST["norm_2"]) + BlackbodyRad(BEST["kT"], BEST["norm"])
    model = TableAtBinCentres(energy, sigma, BEST["nH"]) * light
    c = sf.Posterior((model, pn)).statistics(np.zeros(0))[pn.name]
    assert float(c) == pytest.approx(96.29, abs=0.005)


def test_the_best_fit_with_our_absorption(posterior) -> None:
    """Our table (XSPEC's tbabs to 1e-3, its mean over each bin) lowers the minimum by 0.14 and moves it by 0.05 sd."""
    result = posterior.fit("mle")
    assert result.converged
    assert result.statistic["value"] == pytest.approx(96.154, abs=0.005)
    assert result.statistic["dof"] == 97
    wanted = {
        "bbodyrad.kT": 0.742,
        "bbodyrad.norm": 0.1976,
        "powerlaw.PhoIndex": 2.025,
        "powerlaw.norm": 2.604e-4,
        "tbabs.nH": 0.0940,
    }
    for name, value in wanted.items():
        assert float(result.best[name]) == pytest.approx(value, abs=0.05 * REFERENCE[name][1])


@pytest.mark.parametrize("method", ["auto", "nuts"])
def test_the_posterior(posterior, method) -> None:
    result = posterior.fit(method, seed=1)
    assert result.converged, result.draws.messages
    found = result.to_dict()["parameters"]
    for name, (mean, sd, low, high) in REFERENCE.items():
        assert found[name]["mean"] == pytest.approx(mean, abs=0.1 * sd)
        assert found[name]["sd"] == pytest.approx(sd, rel=0.05)
        assert found[name]["q05"] == pytest.approx(low, abs=0.15 * sd)
        assert found[name]["q95"] == pytest.approx(high, abs=0.15 * sd)
    if method == "auto":
        assert result.draws.log_evidence == pytest.approx(-377.95, abs=0.1)
        assert result.draws.log_evidence_error < 0.1
        assert result.draws.diagnostics["effective"] / result.draws.evaluations > 0.3
    mean_statistic = 2 * np.sum(posterior.pairs[next(iter(posterior.pairs))][1].likelihood.saturated)
    mean_statistic -= 2 * np.sum(result.weights * result.draws.log_likelihood)
    assert mean_statistic == pytest.approx(101.2, abs=0.3)
