"""Comparison of models: leave-one-out cross-validation, WAIC, and tables of several results of the same data.

Evidences answer which model, its prior included, made the data more probable; LOO and WAIC answer which predicts new
data of the same kind better. ArviZ computes the latter two from the log-likelihood of each datum.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from skyfold.errors import SkyfoldError, SkyfoldWarning
from skyfold.inference.importance.psis import RELIABLE
from skyfold.results.summary import load_arviz
from skyfold.wording import text_table

if TYPE_CHECKING:
    from skyfold.results.result import Result

#: Posterior variance of a datum's log-likelihood above which WAIC is not reliable.
_MOST_VARIANCE = 0.4

#: Differences of expected log predictive densities that tell nothing: less than so many standard errors, or than 4,
#: below which these are not to be trusted (Sivula, Magnusson, Matamoros & Vehtari 2020, arXiv:2008.10296).
_FEW_ERRORS, _SMALL = 2.0, 4.0

#: The criteria that `compare` knows, and how their estimates are called.
CRITERIA = {"evidence": "ln evidence", "loo": "elpd (LOO)", "waic": "elpd (WAIC)"}


class ComparisonWarning(SkyfoldWarning):
    """A comparison of models that is not to be trusted as it stands."""


@dataclass(frozen=True, repr=False)
class PredictiveAccuracy:
    r"""Expected log predictive density of new data, :math:`\sum_i \ln p(d_i | d_{-i})` estimated from draws.

    Attributes
    ----------
    criterion : ``"loo"`` or ``"waic"``.
    elpd, se : estimate and standard error, natural logarithms.
    p_eff : effective number of parameters.
    pointwise : contribution of each datum, by observation.
    khat : Pareto k-hat of each datum, by observation; empty for WAIC.
    messages : what a reader must know; empty where the estimate is reliable.
    """

    criterion: str
    elpd: float
    se: float
    p_eff: float
    pointwise: dict[str, np.ndarray]
    khat: dict[str, np.ndarray]
    messages: tuple[str, ...]
    _arviz: Any = field(default=None, compare=False)

    @property
    def reliable(self) -> bool:
        """Whether the estimate can be trusted."""
        return not self.messages

    def __repr__(self) -> str:
        lines = [f"{CRITERIA[self.criterion]} = {self.elpd:.2f} +- {self.se:.2f}, p_eff = {self.p_eff:.2f}"]
        if self.khat:
            worst = max(float(np.max(k)) for k in self.khat.values())
            lines[0] += f", largest k-hat {worst:.2f}"
        return "\n".join([*lines, *(f"warning: {m}" for m in self.messages)])


class Predictions:
    """What a result says of the data it would predict: the part of `Result` that ArviZ's criteria need."""

    @cached_property
    def log_likelihoods(self: Any) -> dict[str, np.ndarray]:
        """Log-likelihood of each datum at the equally weighted draws, by observation, (chains, draws, n_data)."""
        from skyfold.results.predictive import in_chunks

        shape = next(iter(self.equal_weight.values())).shape[:2]
        latent = self.draws.latent.reshape(-1, self.description.ndim)[self.equal_weight_indices()]
        unique, places = np.unique(latent, axis=0, return_inverse=True)
        found = in_chunks(self.posterior.pointwise, unique)
        places = np.ravel(places)
        return {name: found[name].reshape(len(unique), -1)[places].reshape(*shape, -1) for name in self.posterior.pairs}

    def loo(self) -> PredictiveAccuracy:
        """Leave-one-out cross-validation by Pareto-smoothed importance sampling (PSIS-LOO).

        Vehtari, Gelman & Gabry 2017, Statistics and Computing 27, 1413. Weighted draws are resampled first.

        Warns
        -----
        ComparisonWarning
            If k-hat of a datum is above 0.7: its prediction, and so the estimate, is not reliable.

        Raises
        ------
        SkyfoldError
            If the result is a point estimate, or the data of an observation are not conditionally independent.
        """
        return _accuracy(self, "loo")

    def waic(self) -> PredictiveAccuracy:
        """Widely applicable information criterion (Watanabe 2010, JMLR 11, 3571), on the scale of `loo`.

        Warns
        -----
        ComparisonWarning
            If the log-likelihood of a datum varies by more than 0.4 (variance): `loo` is safer there.

        Raises
        ------
        SkyfoldError
            As `loo`.
        """
        return _accuracy(self, "waic")


def _accuracy(result: Any, criterion: str) -> PredictiveAccuracy:
    if result.draws.is_point:
        raise SkyfoldError(
            f"The result of '{result.method}' is a point: {criterion.upper()} needs draws of the posterior. Fit with "
            "'auto' or 'nuts'."
        )
    az = load_arviz()
    values = result.log_likelihoods
    joined = az.from_dict(
        posterior=result.equal_weight, log_likelihood={"data": np.concatenate(list(values.values()), axis=-1)}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = getattr(az, criterion)(joined, pointwise=True, scale="log")
    ends = np.cumsum([v.shape[-1] for v in values.values()])[:-1]

    def split(array: Any) -> dict[str, np.ndarray]:
        return dict(zip(values, np.split(np.asarray(array), ends), strict=True))

    khat = split(found["pareto_k"]) if criterion == "loo" else {}
    messages = tuple(_doubts(result, khat, values if criterion == "waic" else {}))
    for message in messages:
        warnings.warn(message, ComparisonWarning, stacklevel=3)
    return PredictiveAccuracy(
        criterion=criterion,
        elpd=float(found[f"elpd_{criterion}"]),
        se=float(found["se"]),
        p_eff=float(found[f"p_{criterion}"]),
        pointwise=split(found[f"{criterion}_i"]),
        khat=khat,
        messages=messages,
        _arviz=found,
    )


def _doubts(result: Any, khat: dict[str, np.ndarray], values: dict[str, np.ndarray]) -> list[str]:
    """Say what makes an estimate unreliable."""
    found = [] if result.converged else [f"the draws of '{result.method}' have not converged"]
    bad = {name: np.flatnonzero(~(k <= RELIABLE)) for name, k in khat.items()}
    total = sum(len(k) for k in khat.values())
    if any(len(b) for b in bad.values()):
        count = sum(len(b) for b in bad.values())
        worst = max(float(np.max(k)) for k in khat.values())
        where = "; ".join(f"{n}: {', '.join(map(str, b[:8]))}{' ...' if len(b) > 8 else ''}" for n, b in bad.items())
        found.append(
            f"Pareto k-hat is above {RELIABLE} for {count} of {total} data (largest {worst:.2f}; {where}): the "
            "posterior without such a datum differs too much from that with it. Fit without these data to see what "
            "they do, or compare by evidence."
        )
    variance = {name: np.var(v, axis=(0, 1)) for name, v in values.items()}
    wild = sum(int(np.sum(v > _MOST_VARIANCE)) for v in variance.values())
    if wild:
        found.append(
            f"the log-likelihood of {wild} data varies by more than {_MOST_VARIANCE} (variance over the posterior), "
            "where WAIC is not reliable; use loo"
        )
    return found


# -- several results -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Comparison:
    """Models of the same data, best first; printable.

    Attributes
    ----------
    by : criterion.
    rows : numbers by column, one dictionary for each model.
    messages : what a reader must know.
    """

    by: str
    rows: tuple[dict[str, Any], ...]
    messages: tuple[str, ...]

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Row of one model."""
        return next(row for row in self.rows if row["name"] == name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models, best first."""
        return tuple(row["name"] for row in self.rows)

    def to_table(self) -> Any:
        """Return an astropy Table."""
        from astropy.table import Table

        table = Table({key: [row[key] for row in self.rows] for key in self.rows[0]})
        table.meta.update(by=self.by, messages=list(self.messages))
        return table

    def __repr__(self) -> str:
        header = tuple(self.rows[0])
        body = [tuple(_shown(v) for v in row.values()) for row in self.rows]
        lines = [f"models of the same data by {CRITERIA[self.by]}, best first", text_table(header, body)]
        return "\n".join([*lines, *(f"warning: {m}" for m in self.messages)])


def compare(results: Mapping[str, Result] | Sequence[Result], by: str = "evidence") -> Comparison:
    r"""Compare models of the same data.

    Parameters
    ----------
    results : several results, or the same by names of your own; by default each is called after its models.
    by : ``"evidence"``: log evidences, Bayes factors :math:`B = Z / Z_\mathrm{best}` and probabilities of the models
        if all are a priori equally probable, with the errors that follow from those of the evidences; ``"loo"`` or
        ``"waic"``: expected log predictive densities, their differences to the best with standard errors
        (of the sum over data of the pairwise differences), and stacking weights (Yao et al. 2018, Bayesian Analysis
        13, 917).

    Returns
    -------
    Comparison

    Raises
    ------
    SkyfoldError
        If the results are of different data, or lack what the criterion needs.
    """
    if by not in CRITERIA:
        raise SkyfoldError(f"Results can be compared by {', '.join(map(repr, CRITERIA))}, not by {by!r}.")
    named = dict(results) if isinstance(results, Mapping) else _named(list(results))
    if len(named) < 2:
        raise SkyfoldError("A comparison needs two results or more.")
    _check_same_data(named)
    messages = [f"the draws of '{name}' have not converged" for name, r in named.items() if not r.converged]
    kinds = {r.description.statistic_name for r in named.values()}
    if len(kinds) > 1:
        messages.append(
            f"the likelihoods differ ({', '.join(sorted(kinds))}): the probability of counts and the density of "
            "measured values cannot be compared with each other"
        )
    rows = _by_evidence(named) if by == "evidence" else _by_prediction(named, by, messages)
    return Comparison(by, tuple(rows), tuple(messages))


def _by_evidence(named: dict[str, Any]) -> list[dict[str, Any]]:
    lacking = [f"'{name}' ({r.method})" for name, r in named.items() if r.draws.log_evidence is None]
    if lacking:
        raise SkyfoldError(
            f"No evidence is known of {', '.join(lacking)}: fit with a method that gives one, such as 'auto' "
            "(importance sampling) or 'nested', or compare by 'loo'."
        )
    evidence = np.array([r.draws.log_evidence for r in named.values()])
    given = (r.draws.log_evidence_error for r in named.values())
    error = np.array([np.nan if e is None else e for e in given])
    order = np.argsort(-evidence, kind="stable")
    best = order[0]
    difference = evidence - evidence[best]
    difference_error = np.where(np.arange(len(order)) == best, 0.0, np.hypot(error, error[best]))
    p = np.exp(difference) / np.exp(difference).sum()
    # dp_i / d ln Z_j = p_i (delta_ij - p_j)
    p_error = p * np.sqrt(np.sum(((np.eye(len(p)) - p) * error) ** 2, axis=1))
    names = list(named)
    return [
        {
            "name": names[i],
            "log_evidence": float(evidence[i]),
            "error": float(error[i]),
            "difference": float(difference[i]),
            "difference_error": float(difference_error[i]),
            "bayes_factor": float(np.exp(difference[i])),
            "bayes_factor_error": float(np.exp(difference[i]) * difference_error[i]),
            "probability": float(p[i]),
            "probability_error": float(p_error[i]),
        }
        for i in order
    ]


def _by_prediction(named: dict[str, Any], by: str, messages: list[str]) -> list[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ComparisonWarning)
        found = {name: _accuracy(r, by) for name, r in named.items()}
    messages += [f"{name}: {m}" for name, a in found.items() for m in a.messages if "not converged" not in m]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = load_arviz().compare({name: a._arviz for name, a in found.items()}, ic=by, scale="log")["weight"]
    each = {name: np.concatenate(list(a.pointwise.values())) for name, a in found.items()}
    best = max(found, key=lambda name: found[name].elpd)
    rows = []
    for name in sorted(found, key=lambda name: -found[name].elpd):
        apart = each[name] - each[best]
        row: dict[str, Any] = {
            "name": name,
            "elpd": found[name].elpd,
            "se": found[name].se,
            "p_eff": found[name].p_eff,
            "difference": float(apart.sum()),
            "difference_se": float(np.sqrt(len(apart) * np.var(apart))),
            "weight": float(weights[name]),
        }
        if by == "loo":
            row["khat"] = max(float(np.max(k)) for k in found[name].khat.values())
        rows.append(row)
        if name != best and -row["difference"] < max(_FEW_ERRORS * row["difference_se"], _SMALL):
            messages.append(
                f"'{name}' and '{best}' predict the data alike (difference {row['difference']:.2f} +- "
                f"{row['difference_se']:.2f}): this tells neither from the other, whatever the weights"
            )
    return rows


def _named(results: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for result in results:
        base = name = "; ".join(dict.fromkeys(o.model for o in result.description.observations))
        number = 1
        while name in named:
            number += 1
            name = f"{base} ({number})"
        named[name] = result
    return named


def _check_same_data(named: dict[str, Any]) -> None:
    first, *others = named.items()
    for name, result in others:
        mine, theirs = list(first[1]._observed.items()), list(result._observed.items())
        if {n for n, _ in mine} == {n for n, _ in theirs}:
            theirs = [(n, result._observed[n]) for n, _ in mine]
        same = len(mine) == len(theirs) and all(
            np.shape(a) == np.shape(b) and np.array_equal(a, b) for (_, a), (_, b) in zip(mine, theirs, strict=True)
        )
        if not same:
            shapes = [", ".join(f"{n} ({np.size(a)} data)" for n, a in own) for own in (mine, theirs)]
            raise SkyfoldError(
                f"'{first[0]}' and '{name}' are fits of different data: {shapes[0]} against {shapes[1]}"
                f"{', with other values' if shapes[0] == shapes[1] else ''}. Models can be compared only on the same "
                "data: the same observations, noticed and grouped alike."
            )


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}" if 0.01 <= abs(value) < 1e4 or value == 0 else f"{value:.2g}"
