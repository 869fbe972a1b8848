"""Result: what a fit found, as tables, figures, derived quantities and files. It does not ask which method found it."""

from __future__ import annotations

import math
import os
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.inference.importance.psis import kish, systematic
from skyfold.inference.running import Draws
from skyfold.posterior import Posterior
from skyfold.results.comparison import Predictions
from skyfold.results.derived import DerivedQuantities
from skyfold.results.description import Description
from skyfold.results.figures import Figures
from skyfold.results.predictive import REPLICATES, Goodness, check, in_chunks, predict, statistics
from skyfold.results.summary import Marginal, held_coordinates, load_arviz, marginals, standard_errors
from skyfold.results.tables import PlotTable
from skyfold.wording import p_text

#: Most equally weighted draws that are made of weighted ones; derived quantities and figures use no more.
MOST_DRAWS = 4000

#: Posterior predictive probability below which a model is said not to describe the data.
LEAST_P = 0.005

#: Step of the differences that carry errors from latent to physical coordinates.
_STEP = 1e-4


class Result(DerivedQuantities, Figures, Predictions):
    """What a fit found.

    Parameters
    ----------
    posterior : Posterior
        What was explored.
    draws : Draws
        What the method returned.

    Examples
    --------
    >>> result = posterior.fit()  # doctest: +SKIP
    >>> print(result)  # doctest: +SKIP
    >>> result.flux(2, 10, component="powerlaw", absorbed=False)  # doctest: +SKIP
    """

    def __init__(self, posterior: Posterior, draws: Draws) -> None:
        self.draws = draws
        self.description = Description.of(posterior)
        self._posterior: Posterior | None = posterior
        self._observed = {name: np.asarray(o.data) for name, (_, o) in posterior.pairs.items()}
        self._facts: dict[str, Any] = {}
        self._tables: dict[str, PlotTable] = {}

    # -- what it holds -------------------------------------------------------------------------------------------

    @property
    def posterior(self) -> Posterior:
        """The posterior that was explored.

        Raises
        ------
        SkyfoldError
            If the result was loaded without it.
        """
        if self._posterior is None:
            raise SkyfoldError(
                "This needs the model and the data, which a file does not hold: load the result with "
                "Result.load(path, posterior=...)."
            )
        return self._posterior

    @property
    def method(self) -> str:
        """Name of the method that made the draws."""
        return self.draws.method

    @property
    def converged(self) -> bool:
        """Whether the method's criteria are met."""
        return bool(self.draws.converged)

    @cached_property
    def samples(self) -> dict[str, np.ndarray]:
        """Values of the parameters by name, (chains, draws, *shape); they carry `weights`."""
        return self._values(self.draws.latent)

    @cached_property
    def weights(self) -> np.ndarray:
        """Normalised weights of the draws, (chains, draws)."""
        return self.draws.weights()

    def equal_weight_indices(self, n: int | None = None) -> np.ndarray:
        """Places of equally weighted draws among all draws (flattened).

        Weighted draws are resampled systematically, with the seed of the draws. Of draws that count alike all are
        taken in order, or `n` at equal distances.

        Parameters
        ----------
        n : number of draws; by default all that count alike, or as many as weighted ones are worth (1000 to
            `MOST_DRAWS`).
        """
        weights = self.weights.ravel()
        if self.draws.log_weights is None:
            if n is None or n == len(weights):
                return np.arange(len(weights))
            if n < len(weights):
                return np.floor((np.arange(n) + 0.5) * len(weights) / n).astype(np.int64)
        if n is None:
            n = min(len(weights), MOST_DRAWS, max(1000, math.ceil(kish(weights))))
        rng = np.random.default_rng([self.draws.seed, 10])
        return rng.permutation(systematic(weights, n, rng))

    @cached_property
    def equal_weight(self) -> dict[str, np.ndarray]:
        """Equally weighted values of the parameters by name, (chains, draws, *shape)."""
        index = self.equal_weight_indices()
        chains = self.weights.shape[0] if self.draws.log_weights is None else 1
        return {
            name: values.reshape(-1, *values.shape[2:])[index].reshape(chains, -1, *values.shape[2:])
            for name, values in self.samples.items()
        }

    def equal_weight_latent(self, n: int | None = None) -> np.ndarray:
        """Equally weighted latent vectors (n, ndim), by default `MOST_DRAWS` at most."""
        most = min(MOST_DRAWS, len(self.equal_weight_indices())) if n is None else n
        return self.draws.latent.reshape(-1, self.description.ndim)[self.equal_weight_indices(most)]

    @property
    def best_latent(self) -> np.ndarray:
        """Latent vector of the best fit (ndim,): the point of a point estimate, else the maximum of the likelihood."""
        flat = self.draws.latent.reshape(-1, self.description.ndim)
        if self.draws.is_point:
            return flat[0]
        if self.draws.best is not None:
            return np.asarray(self.draws.best)
        return flat[np.argmax(np.where(self.weights.ravel() > 0, self.draws.log_likelihood.ravel(), -np.inf))]

    @property
    def best(self) -> dict[str, np.ndarray]:
        """Values of the parameters at the best fit, by name."""
        if "best" not in self._facts:
            if self._posterior is None:
                return {}
            values = self._values(self.best_latent[None, None])
            self._facts["best"] = {name: v[0, 0] for name, v in values.items()}
        return self._facts["best"]

    def _values(self, latent: np.ndarray) -> dict[str, np.ndarray]:
        flat = in_chunks(self.posterior.values, latent.reshape(-1, latent.shape[-1]))
        # in the posterior's order: a dict that went through JAX comes back sorted by name
        return {name: flat[name].reshape(*latent.shape[:2], *flat[name].shape[1:]) for name in self.posterior.names}

    # -- how well it fits ----------------------------------------------------------------------------------------

    @property
    def statistic(self) -> dict[str, Any]:
        """Statistic at the best fit: name, value (None where not known), number of data, degrees of freedom."""
        d = self.description
        values = self.statistics
        return {
            "name": d.statistic_name,
            "value": sum(values.values()) if values else None,
            "n_data": d.n_measured,
            "dof": d.dof,
        }

    @property
    def statistics(self) -> dict[str, float]:
        """Statistic of each observation at the best fit."""
        if "statistics" not in self._facts:
            if self._posterior is None:
                return {}
            expected = predict(self._posterior, self.best_latent[None])
            self._facts["statistics"] = {
                name: float(statistics(o, np.asarray(o.data), expected[name])[0])
                for name, (_, o) in self._posterior.pairs.items()
            }
        return self._facts["statistics"]

    @property
    def has_goodness(self) -> bool:
        """Whether `goodness` can be had: it was computed, or the posterior is at hand."""
        return "goodness" in self._facts or self._posterior is not None

    @property
    def goodness(self) -> Goodness:
        """Posterior predictive check with 1000 replicates; of a point estimate, that of the point."""
        if "goodness" not in self._facts:
            latent = self.equal_weight_latent(1 if self.draws.is_point else REPLICATES)
            found = check(self.posterior, np.resize(latent, (REPLICATES, self.description.ndim)), self.draws.seed)
            self._facts["goodness"] = vars(found)
        return Goodness(**self._facts["goodness"])

    @property
    def warnings(self) -> list[str]:
        """What a reader must know of the data, and whether the model describes them."""
        found = [
            f"the background of {o.name} is shown but not fitted" for o in self.description.observations if o.background
        ]
        if self.has_goodness and self.goodness.p_value < LEAST_P:
            told = p_text(self.goodness.p_value, self.goodness.replicates)
            found.append(
                f"the model does not describe the data (posterior predictive check: {told}); its parameters and their "
                "errors mean little"
            )
        return found

    # -- tables --------------------------------------------------------------------------------------------------

    @cached_property
    def marginals(self) -> list[Marginal]:
        """Marginal posterior of every scalar entry of every parameter."""
        return marginals(self.description, self.draws, self.samples, self.best, self._standard_errors())

    def _standard_errors(self) -> np.ndarray | None:
        metric = self.draws.diagnostics.get("metric")
        if not self.draws.is_point or metric is None:
            return None
        if "standard_errors" not in self._facts:
            if self._posterior is None:
                return None
            point, n = self.draws.latent[0, 0], self.description.ndim
            steps = np.concatenate([point + _STEP * np.eye(n), point - _STEP * np.eye(n)])
            values = self._values(steps[None])
            flat = np.concatenate([v[0].reshape(2 * n, -1) for v in values.values()], axis=1)
            jacobian = (flat[:n] - flat[n:]).T / (2 * _STEP)
            self._facts["standard_errors"] = standard_errors(
                np.asarray(metric), jacobian, held_coordinates(point, self.description)
            )
        return np.asarray(self._facts["standard_errors"])

    def summary(self) -> Any:
        """Return an astropy Table: name, unit, best, median, mean, sd, quantiles, ess, rhat, note."""
        from astropy.table import Table

        names = ("name", "unit", "best", "median", "mean", "sd", "q05", "q16", "q84", "q95", "ess", "rhat", "note")
        table = Table({n: [getattr(m, n) for m in self.marginals] for n in names})
        table.meta.update(method=self.method, converged=self.converged, statistic=self.statistic)
        return table

    def to_dict(self) -> dict[str, Any]:
        """Return everything of the summary as numbers, text and None: what ``summary.json`` holds."""
        draws = self.draws
        numbers = ("best", "median", "mean", "sd", "q05", "q16", "q84", "q95", "ess", "rhat")
        goodness = vars(self.goodness) if self.has_goodness else None
        seconds = {key: draws.seconds.get(key) for key in ("import", "load", "compile", "sample", "total")}
        content = {
            "statistic": {**self.statistic, "observations": self.statistics},
            "parameters": {
                m.name: {**{k: getattr(m, k) for k in numbers}, "unit": m.unit, "limit": m.limit, "note": m.note}
                for m in self.marginals
            },
            "fixed": self.description.fixed,
            "tied": self.description.tied,
            "method": draws.method,
            "sampler": draws.sampler or draws.method,
            "converged": self.converged,
            "messages": list(draws.messages),
            "warnings": self.warnings,
            "goodness": goodness,
            "evaluations": int(draws.evaluations),
            "gradients": int(draws.gradients),
            "log_evidence": draws.log_evidence,
            "log_evidence_error": draws.log_evidence_error,
            "seconds": seconds,
            "versions": self.description.versions,
            "seed": draws.seed,
            "models": {o.name: o.model for o in self.description.observations},
        }
        return _json_safe(content)

    def __str__(self) -> str:
        from skyfold.results.printed import text

        return text(self)

    def __repr__(self) -> str:
        state = "converged" if self.converged else "NOT CONVERGED"
        chains, n = self.weights.shape
        return f"Result({self.method}, {state}, {len(self.description.entries)} parameters, {chains} x {n} draws)"

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a netCDF file in ArviZ's InferenceData layout, which `load` and ``arviz.from_netcdf`` read.

        The tables of the figures drawn so far go with it, so that they can be drawn again without the model.
        """
        from skyfold.results.netcdf import Saved, write

        summary = self.to_dict()  # also computes the facts that are saved
        return write(
            path,
            Saved(
                description=self.description,
                draws=self.draws,
                samples=self.samples,
                equal=self.equal_weight,
                index=self.equal_weight_indices(),
                observed=self._observed,
                facts={**self._facts, "best": self.best},
                summary=summary,
                tables=self._tables,
            ),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], posterior: Posterior | None = None) -> Self:
        """Read a file that `save` wrote. Nothing in the file is executed.

        Parameters
        ----------
        path : the file.
        posterior : the posterior that was explored; without it there are tables, corner and trace figures, and
            figures whose numbers were saved, but not what needs the model.

        Raises
        ------
        FileFormatError
            If the file is damaged or not one of skyfold's.
        SkyfoldError
            If the posterior is another one.
        """
        from skyfold.results.netcdf import read

        saved = read(path)
        result = cls.__new__(cls)
        result.draws = saved.draws
        result.description = saved.description
        result._posterior = posterior
        result._observed = saved.observed
        result._facts = saved.facts
        result._tables = saved.tables
        result.samples = saved.samples
        if posterior is not None:
            mine = [(p.name, p.prior) for p in Description.of(posterior).parameters]
            theirs = [(p.name, p.prior) for p in saved.description.parameters]
            if mine != theirs or posterior.n_data != saved.description.n_data:
                raise SkyfoldError(
                    f"{path}: the file is of another posterior, with {saved.description.n_data} data and the "
                    f"parameters {', '.join(f'{n} ~ {p}' for n, p in theirs)}. Give the posterior that was fitted."
                )
            result._check_same(path)
        return result

    def _check_same(self, path: Any) -> None:
        """Refuse a posterior whose data or model give other numbers than those in the file."""
        for name, (_, observation) in self.posterior.pairs.items():
            if not np.array_equal(np.asarray(observation.data), self._observed.get(name, np.empty(0))):
                raise SkyfoldError(f"{path}: the data of '{name}' are not those that were fitted.")
        at = self.draws.latent.reshape(-1, self.description.ndim)[0]
        then, now = float(self.draws.log_likelihood.ravel()[0]), float(self.posterior.log_likelihood(at))
        if not np.isclose(then, now, rtol=1e-6, atol=1e-6):
            raise SkyfoldError(
                f"{path}: the model of this posterior is another one: at the first draw its log-likelihood is "
                f"{now:.6g}, in the file it is {then:.6g}. Give the posterior that was fitted."
            )

    def to_inference_data(self) -> Any:
        """Return the equally weighted draws as ArviZ InferenceData (imports ArviZ).

        With the posterior at hand, and data that are conditionally independent, there is a group ``log_likelihood``
        with the log-likelihood of each datum by observation, which ``arviz.loo(data, var_name=...)`` takes.
        """
        index = self.equal_weight_indices()
        shape = next(iter(self.equal_weight.values())).shape[:2]
        chosen = self.draws.log_likelihood.ravel()[index].reshape(shape)
        known = self._posterior is not None and all(o.independent for _, o in self._posterior.pairs.values())
        return load_arviz().from_dict(
            posterior=self.equal_weight,
            log_likelihood=self.log_likelihoods if known else None,
            sample_stats={"total_log_likelihood": chosen},
            observed_data=self._observed,
            attrs={"inference_library": "skyfold", "method": self.method, "converged": int(self.converged)},
        )


def _json_safe(content: Any) -> Any:
    if isinstance(content, dict):
        return {k: _json_safe(v) for k, v in content.items()}
    if isinstance(content, list | tuple):
        return [_json_safe(v) for v in content]
    if isinstance(content, np.ndarray):
        return _json_safe(content.tolist())
    if isinstance(content, np.generic):
        content = content.item()
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
