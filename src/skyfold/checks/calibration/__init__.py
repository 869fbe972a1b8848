"""Calibration: whether a method's posteriors are as wide as they should be, measured on simulated data.

Parameters are drawn from the prior, data are simulated and fitted with the method. If the method is right, the truth
is one more draw of the posterior: its rank among the draws is uniform, whatever the data (simulation-based calibration:
Talts, Betancourt, Simpson, Vehtari & Gelman 2018, arXiv:1804.06788). The log-likelihood is ranked as well, since it
sees errors that no single parameter shows (Modrak et al. 2023, Bayesian Analysis).
"""

from skyfold.checks.calibration.findings import Calibration
from skyfold.checks.calibration.simulation import calibrate

__all__ = ["Calibration", "calibrate"]
