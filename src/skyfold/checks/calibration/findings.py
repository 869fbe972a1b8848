"""Calibration: what the ranks of a calibration say, as numbers, text and figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from skyfold.checks.calibration.file import Fit, Fits, FitsFile
from skyfold.checks.calibration.uniformity import band, fractions, p_value
from skyfold.wording import text_table

#: Central credible intervals whose coverage is counted.
LEVELS = (0.50, 0.68, 0.90, 0.95)
#: Probability with which all distribution functions of a right method lie inside their bands.
SIMULTANEOUS = 0.99


@dataclass(frozen=True)
class Calibration:
    """Where the truth lay in the posteriors of simulated data.

    Everything is counted over the fits that call themselves converged: given the data, whether a fit has converged
    says nothing of the truth, so their ranks must be uniform by themselves. `everything` counts the others, too.

    Attributes
    ----------
    fits : the method and its fits.
    comparisons : number of distribution functions that share the simultaneous band; those of this calibration by
        default, more where several calibrations are judged together (`among`).
    flagged_too : whether fits that have not converged are counted.
    """

    fits: Fits
    comparisons: int = 0
    flagged_too: bool = False

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `calibrate` has written so far.

        Raises
        ------
        SkyfoldError
            If the file is none of a calibration.
        """
        return cls(FitsFile.read(path))

    def among(self, comparisons: int) -> Self:
        """Same calibration as one of several, whose `comparisons` distribution functions share one band."""
        return replace(self, comparisons=comparisons)

    def everything(self) -> Self:
        """Same calibration with the fits counted that have not converged."""
        return replace(self, flagged_too=True)

    # -- what was found ------------------------------------------------------------------------------------------

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.fits.method

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of what was ranked: every entry of every parameter, and the log-likelihood."""
        return self.fits.quantities

    @property
    def counted(self) -> tuple[Fit, ...]:
        """The fits that are counted."""
        return tuple(f for f in self.fits.rows if np.all(np.isfinite(f.ranks)) and (f.converged or self.flagged_too))

    @property
    def flagged(self) -> tuple[Fit, ...]:
        """Fits that say themselves that they have not converged, those without any result among them."""
        return tuple(f for f in self.fits.rows if not f.converged)

    @property
    def n(self) -> int:
        """Number of fits that are counted."""
        return len(self.counted)

    @property
    def ranks(self) -> np.ndarray:
        """Ranks (n, quantities) of the truth, uniform between 0 and 1 when the method is right."""
        return np.array([f.ranks for f in self.counted]).reshape(-1, len(self.quantities))

    @property
    def level(self) -> float:
        """Level of the band of one distribution function: that of all together, shared out (Bonferroni)."""
        return 1.0 - (1.0 - SIMULTANEOUS) / (self.comparisons or len(self.quantities))

    @property
    def band(self) -> tuple[np.ndarray, np.ndarray]:
        """Limits of each distribution function in `skyfold.checks.calibration.uniformity.points`."""
        return band(self.n, self.level)

    @property
    def p_values(self) -> np.ndarray:
        """Probability (quantities,) of ranks at least as far from uniform; nothing is shared out here."""
        return np.array([p_value(u) for u in self.ranks.T])

    @property
    def inside(self) -> np.ndarray:
        """Whether the distribution function of each quantity lies inside its band, (quantities,)."""
        low, high = self.band
        return np.array([bool(np.all((f >= low) & (f <= high))) for f in (fractions(u) for u in self.ranks.T)])

    @property
    def calibrated(self) -> bool:
        """Whether all distribution functions lie inside the simultaneous band."""
        return self.n > 0 and bool(np.all(self.inside))

    def coverage(self, levels: Sequence[float] | np.ndarray = LEVELS) -> np.ndarray:
        """Part (quantities, levels) of the fits whose central credible interval of each level holds the truth."""
        distance = 2.0 * np.abs(self.ranks - 0.5)
        return np.stack([np.mean(distance <= level, axis=0) for level in levels], axis=1)

    def coverage_errors(self, levels: Sequence[float] | np.ndarray = LEVELS) -> np.ndarray:
        """Binomial standard deviation of each `coverage`, (levels,)."""
        c = np.asarray(levels)
        return np.sqrt(c * (1.0 - c) / max(self.n, 1))

    @property
    def excess(self) -> np.ndarray:
        """Coverage minus level, averaged over all levels from 0 to 1, (quantities,).

        Negative: over-confident, the intervals are too narrow. The standard deviation of a right method is
        `excess_error`.
        """
        return 0.5 - np.mean(2.0 * np.abs(self.ranks - 0.5), axis=0)

    @property
    def excess_error(self) -> float:
        """Standard deviation of `excess` for a right method."""
        return float(1.0 / np.sqrt(12.0 * max(self.n, 1)))

    @property
    def scores(self) -> np.ndarray:
        """Normal scores (n, quantities): how many standard deviations the truth lies above the median."""
        from scipy.special import ndtri

        return ndtri(np.clip(self.ranks, 1e-12, 1.0 - 1e-12))

    @property
    def spread(self) -> np.ndarray:
        """Root mean square of the scores, (quantities,): 1.25 means that widths are too narrow by that factor."""
        return np.sqrt(np.mean(self.scores**2, axis=0))

    @property
    def bias(self) -> np.ndarray:
        """Mean score, (quantities,): how far the truths lie above the posteriors' medians, in their widths."""
        return np.mean(self.scores, axis=0)

    # -- what it looks like --------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as numbers and text."""
        rows = zip(
            self.quantities,
            self.p_values,
            self.inside,
            self.coverage(),
            self.excess,
            self.spread,
            self.bias,
            strict=True,
        )
        return {
            "method": self.method,
            "settings": self.fits.settings,
            "seed": self.fits.seed,
            "fits": len(self.fits.rows),
            "counted": self.n,
            "calibrated": self.calibrated,
            "comparisons": self.comparisons or len(self.quantities),
            "quantities": {
                name: {
                    "p": float(p),
                    "inside": bool(good),
                    "coverage": {f"{level:.2f}": float(c) for level, c in zip(LEVELS, covered, strict=True)},
                    "excess": float(excess),
                    "spread": float(spread),
                    "bias": float(bias),
                }
                for name, p, good, covered, excess, spread, bias in rows
            },
            "coverage_errors": {
                f"{level:.2f}": float(e) for level, e in zip(LEVELS, self.coverage_errors(), strict=True)
            },
            "excess_error": self.excess_error,
            "not_converged": [{"number": f.number, "message": f.message} for f in self.flagged],
            "samplers": {
                s: sum(f.sampler == s for f in self.counted) for s in sorted({f.sampler for f in self.counted})
            },
            "evaluations": float(np.median([f.evaluations for f in self.counted])) if self.n else None,
            "seconds": float(np.median([f.sample_seconds for f in self.counted])) if self.n else None,
            "compile_seconds": float(sum(f.compile_seconds for f in self.fits.rows)),
        }

    def __str__(self) -> str:
        if not self.n:
            return f"Calibration of {self.method}: none of {len(self.fits.rows)} fits can be counted\n" + self._listed()
        d = self.to_dict()
        used = ", ".join(f"{number} by {name}" for name, number in d["samplers"].items())
        errors = self.coverage_errors()
        header = ("quantity", "p", *(f"{100 * c:.0f}%" for c in LEVELS), "excess", "spread", "bias", "")
        rows = [
            (
                name,
                f"{q['p']:.2g}",
                *(f"{100 * c:.1f}" for c in q["coverage"].values()),
                f"{100 * q['excess']:+.1f}%",
                f"{q['spread']:.3f}",
                f"{q['bias']:+.3f}",
                "" if q["inside"] else "OUTSIDE",
            )
            for name, q in d["quantities"].items()
        ]
        expected = (
            "+- of a right method",
            "",
            *(f"{100 * e:.1f}" for e in errors),
            f"{100 * self.excess_error:.1f}%",
            f"{1 / np.sqrt(2 * self.n):.3f}",
            f"{1 / np.sqrt(self.n):.3f}",
            "",
        )
        verdict = "inside" if self.calibrated else "OUTSIDE"
        lines = [
            f"Calibration of {self.method}: {len(self.fits.rows)} simulated data sets, {self.n} counted ({used})",
            f"median {d['seconds']:.2f} s and {d['evaluations']:.0f} evaluations a fit; {d['compile_seconds']:.1f} s "
            "of compiling in all",
            f"ranks {verdict} the band that holds all {d['comparisons']} distribution functions with probability "
            f"{100 * SIMULTANEOUS:.0f}% (p above {1.0 - self.level:.2g})",
            "",
            text_table(header, [*rows, expected]),
            "excess: coverage minus level, mean over all levels (negative: over-confident); spread: root mean square "
            "of the scores (above 1: too narrow)",
        ]
        return "\n".join(lines) + ("\n" + self._listed() if self.flagged else "")

    def _listed(self) -> str:
        counted = "counted too" if self.flagged_too else "not counted"
        lines = [f"{len(self.flagged)} fits have not converged ({counted}):"]
        lines += [f"  {f.number}: {f.message}" for f in self.flagged[:20]]
        return "\n".join(lines + ["  ..."] * (len(self.flagged) > 20))

    def __repr__(self) -> str:
        verdict = "inside" if self.calibrated else "OUTSIDE"
        return f"Calibration({self.method}, {self.n} fits, ranks {verdict} the band)"

    def plot(self) -> Any:
        """Draw the distribution functions with their band, and the coverage; a matplotlib Figure."""
        from skyfold.plots.calibration import calibration

        return calibration({self.method: self})
