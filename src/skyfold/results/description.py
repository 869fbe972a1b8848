"""Description: what a result must know of its posterior when the posterior itself is not at hand."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, Self, cast

import numpy as np

from skyfold.posterior import FreeParameter, Posterior

_PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "equinox", "numpyro", "blackjax")


@dataclass(frozen=True)
class ParameterDescription:
    """A free parameter in words and numbers.

    Attributes
    ----------
    name, unit, description : as in tables.
    prior : the prior as text.
    shape : shape of a value.
    latent : first and one past the last of its latent coordinates.
    elementwise : whether entry i of the value depends monotonically on latent coordinate i alone.
    exact : whether its latent coordinates are a priori standard normal.
    bounded : whether values reach a lower and an upper limit of the prior.
    logarithmic : whether the prior spreads it over orders of magnitude.
    """

    name: str
    unit: str
    description: str
    prior: str
    shape: tuple[int, ...]
    latent: tuple[int, int]
    elementwise: bool
    exact: bool
    bounded: tuple[bool, bool]
    logarithmic: bool

    @classmethod
    def of(cls, parameter: FreeParameter) -> Self:
        """Describe a free parameter of a posterior."""
        from skyfold.priors import LogNormal, LogUniform, MultivariateNormal

        prior = parameter.prior
        alone = prior.latent_shape == prior.shape and not isinstance(prior, MultivariateNormal)
        lower, upper = prior.bounded
        return cls(
            name=parameter.name,
            unit=parameter.label.unit,
            description=parameter.label.description,
            prior=repr(prior),
            shape=tuple(prior.shape),
            latent=(parameter.latent.start, parameter.latent.stop),
            elementwise=alone and prior.exact,
            exact=prior.exact,
            bounded=(bool(lower), bool(upper)),
            logarithmic=isinstance(prior, LogUniform | LogNormal),
        )

    @property
    def entries(self) -> tuple[str, ...]:
        """Name of each entry of the value: ``name``, or ``name[0]``, ``name[1]`` and so on."""
        if not self.shape:
            return (self.name,)
        return tuple(f"{self.name}[{','.join(map(str, index))}]" for index in np.ndindex(self.shape))


@dataclass(frozen=True)
class ObservationDescription:
    """An observation in words.

    Attributes
    ----------
    name, statistic, model : its name, the name of its statistic, and its model.
    n_data : number of data, places of missing ones counted.
    background : whether there is a background that is not fitted.
    n_measured : number of data that are there; None in files of former versions.
    integrated : number of free scales that are integrated out of the model.
    """

    name: str
    n_data: int
    statistic: str
    model: str
    background: bool
    n_measured: int | None = None
    integrated: int = 0


@dataclass(frozen=True)
class Description:
    """A posterior in words and numbers.

    Attributes
    ----------
    parameters, observations : what is free, and what was observed.
    fixed : values of the parameters that are fixed, by name.
    tied : expressions that tie parameters, by name.
    ndim : number of latent coordinates.
    versions : of skyfold, Python and the libraries that compute.
    """

    parameters: tuple[ParameterDescription, ...]
    observations: tuple[ObservationDescription, ...]
    fixed: dict[str, Any]
    tied: dict[str, str]
    ndim: int
    versions: dict[str, str]

    @classmethod
    def of(cls, posterior: Posterior) -> Self:
        """Describe a posterior."""
        from skyfold.naming import tokens_by_name
        from skyfold.parameters import Parameter, is_symbol, written

        fixed: dict[str, Any] = {}
        tied: dict[str, str] = {}
        tokens = tokens_by_name(posterior.fields)
        for name, entry in posterior.fields.items():
            if isinstance(entry.value, Parameter):
                continue
            if is_symbol(entry.value):
                tied[name] = written(entry.value, tokens)
            else:
                fixed[name] = np.asarray(entry.value).tolist()
        return cls(
            parameters=tuple(ParameterDescription.of(p) for p in posterior.parameters),
            observations=tuple(
                ObservationDescription(
                    name,
                    o.n_data,
                    o.likelihood.statistic_name,
                    repr(m),
                    o.background_unused,
                    o.likelihood.n_measured,
                    o.likelihood.integrated,
                )
                for name, (m, o) in posterior.pairs.items()
            ),
            fixed=fixed,
            tied=tied,
            ndim=posterior.ndim,
            versions=_versions(),
        )

    @property
    def n_data(self) -> int:
        """Number of data of all observations."""
        return sum(o.n_data for o in self.observations)

    @property
    def n_measured(self) -> int:
        """Number of data of all observations that are there."""
        return sum(o.n_data if o.n_measured is None else o.n_measured for o in self.observations)

    @property
    def dof(self) -> int:
        """Data that are there, less the free parameters and the scales that were integrated out."""
        return self.n_measured - self.ndim - sum(o.integrated for o in self.observations)

    @property
    def statistic_name(self) -> str:
        """Name of the statistic: that of the observations, joined where they differ."""
        return "+".join(dict.fromkeys(o.statistic for o in self.observations))

    @property
    def entries(self) -> tuple[str, ...]:
        """Names of all scalar entries of all parameters."""
        return tuple(e for p in self.parameters for e in p.entries)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists, numbers and text."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Self:
        """Undo `to_dict`, also after a passage through JSON."""
        listed: list[dict[str, Any]] = content["parameters"]
        parameters = tuple(
            ParameterDescription(**cast("Any", {k: tuple(p[k]) if isinstance(p[k], list) else p[k] for k in p}))
            for p in listed
        )
        observations = tuple(ObservationDescription(**o) for o in content["observations"])
        return cls(**{**content, "parameters": parameters, "observations": observations})


def _versions() -> dict[str, str]:
    import skyfold

    found = {"skyfold": skyfold.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
