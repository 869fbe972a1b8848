r"""Priors: each a frozen specification and a normal transport.

Every prior here maps standard normal coordinates z to its values exactly, :math:`x = F^{-1}(\Phi(z))` for scalars.
So the log prior of any model is :math:`-|z|^2/2`, prior draws are normal draws, and the unit cube is
:math:`\Phi(z)`. Any other NumPyro distribution works through its constraint bijector (`NumPyroPrior`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.parameters import Prior, as_number, is_quantity, is_symbol, normal_cdf, shape_of


def _argument(value: Any) -> Any:
    return value if is_symbol(value) or is_quantity(value) else as_number(value)


def _known(*values: Any) -> bool:
    return not any(is_symbol(v) or is_quantity(v) for v in values)


def _field(default: Any = None) -> Any:
    return eqx.field(converter=_argument) if default is None else eqx.field(converter=_argument, default=default)


#: Probability beyond 8.3 latent units, and how near to a limit, in units of a prior's scale, counts as being there.
_TINY, _THERE = 5.2e-17, 1e-12


def _is_reached(distance: Any) -> bool:
    return bool(np.all(np.asarray(distance) < _THERE))


def _normal_cdf(x: Any) -> np.ndarray:
    from scipy.special import ndtr as cdf

    return np.asarray(cdf(x))


def _normal_pdf(x: Any) -> np.ndarray:
    return np.maximum(np.exp(-0.5 * np.square(x)) / np.sqrt(2.0 * np.pi), 1e-300)


class _Checked(Prior):
    """A prior whose arguments are checked as soon as they are numbers."""

    def __check_init__(self) -> None:
        self.check()

    def _require(self, condition: Callable[[], Any], *arguments: Any, cure: str) -> None:
        if _known(*arguments) and not np.all(condition()):
            raise SkyfoldError(f"{self!r} is not a distribution: {cure}.")


class Uniform(_Checked):
    """Uniform between `low` and `high`."""

    low: Any = _field()
    high: Any = _field()

    def check(self) -> None:
        self._require(
            lambda: np.isfinite(self.low) & np.isfinite(self.high),
            self.low,
            self.high,
            cure="the limits must be finite",
        )
        self._require(lambda: np.less(self.low, self.high), self.low, self.high, cure="low must lie below high")

    def transport(self, z: jax.Array) -> jax.Array:
        return self.quantile(normal_cdf(z))

    def quantile(self, t: jax.Array) -> jax.Array:
        return self.low + (self.high - self.low) * t

    @property
    def bounded(self) -> tuple[bool, bool]:
        return True, True

    def support(self) -> tuple[Any, Any]:
        return self.low, self.high


class LogUniform(_Checked):
    """Uniform in the logarithm between `low` > 0 and `high`."""

    low: Any = _field()
    high: Any = _field()

    def check(self) -> None:
        self._require(lambda: np.greater(self.low, 0), self.low, cure="low must be positive")
        self._require(lambda: np.isfinite(self.high), self.high, cure="the limits must be finite")
        self._require(lambda: np.less(self.low, self.high), self.low, self.high, cure="low must lie below high")

    def transport(self, z: jax.Array) -> jax.Array:
        return self.quantile(normal_cdf(z))

    def quantile(self, t: jax.Array) -> jax.Array:
        log_low = jnp.log(self.low)
        return jnp.exp(log_low + (jnp.log(self.high) - log_low) * t)

    @property
    def bounded(self) -> tuple[bool, bool]:
        return True, True

    def support(self) -> tuple[Any, Any]:
        return self.low, self.high


class _Scaled(_Checked):
    def check(self) -> None:
        scale = self.scale  # type: ignore[attr-defined]
        self._require(lambda: np.greater(scale, 0) & np.isfinite(scale), scale, cure="scale must be positive")


class Normal(_Scaled):
    """Normal with mean `loc` and standard deviation `scale`."""

    loc: Any = _field(0.0)
    scale: Any = _field(1.0)

    def transport(self, z: jax.Array) -> jax.Array:
        return self.loc + self.scale * z


class LogNormal(_Scaled):
    """Logarithm normal with mean `loc` and standard deviation `scale` (natural logarithm)."""

    loc: Any = _field(0.0)
    scale: Any = _field(1.0)

    def transport(self, z: jax.Array) -> jax.Array:
        return jnp.exp(self.loc + self.scale * z)

    def support(self) -> tuple[Any, Any]:
        return 0.0, np.inf


class HalfNormal(_Scaled):
    """Absolute value of a normal of mean 0 and standard deviation `scale`."""

    scale: Any = _field(1.0)

    def transport(self, z: jax.Array) -> jax.Array:
        from skyfold.quantiles import normal_to_truncated_normal

        return self.scale * normal_to_truncated_normal(z, jnp.zeros(()), jnp.full((), jnp.inf))

    @property
    def bounded(self) -> tuple[bool, bool]:
        return True, False

    def support(self) -> tuple[Any, Any]:
        return 0.0, np.inf


class TruncatedNormal(_Scaled):
    """Normal with mean `loc` and standard deviation `scale`, cut to `low` .. `high` (either may be infinite)."""

    loc: Any = _field(0.0)
    scale: Any = _field(1.0)
    low: Any = _field(-np.inf)
    high: Any = _field(np.inf)

    def check(self) -> None:
        super().check()
        self._require(lambda: np.less(self.low, self.high), self.low, self.high, cure="low must lie below high")

    def transport(self, z: jax.Array) -> jax.Array:
        from skyfold.quantiles import normal_to_truncated_normal

        low, high = (self.low - self.loc) / self.scale, (self.high - self.loc) / self.scale
        return self.loc + self.scale * normal_to_truncated_normal(z, low, high)

    @property
    def bounded(self) -> tuple[bool, bool]:
        if not _known(self.loc, self.scale, self.low, self.high):
            return False, False
        low, high = (np.subtract(limit, self.loc) / self.scale for limit in (self.low, self.high))
        mass = _normal_cdf(high) - _normal_cdf(low)
        return _is_reached(_TINY * mass / _normal_pdf(low)), _is_reached(_TINY * mass / _normal_pdf(high))

    def support(self) -> tuple[Any, Any]:
        return self.low, self.high


class Beta(_Checked):
    """Beta distribution on 0 .. 1 with shapes `a` and `b`."""

    a: Any = _field()
    b: Any = _field()

    def check(self) -> None:
        self._require(
            lambda: np.greater(self.a, 0) & np.greater(self.b, 0), self.a, self.b, cure="a and b must be positive"
        )

    def transport(self, z: jax.Array) -> jax.Array:
        from skyfold.quantiles import normal_to_beta

        return normal_to_beta(z, self.a, self.b)

    @property
    def bounded(self) -> tuple[bool, bool]:
        from scipy.special import betaincinv

        if not _known(self.a, self.b):
            return False, False
        return _is_reached(betaincinv(self.a, self.b, _TINY)), _is_reached(betaincinv(self.b, self.a, _TINY))

    def support(self) -> tuple[Any, Any]:
        return 0.0, 1.0


class Gamma(_Checked):
    """Gamma distribution with shape `concentration` and inverse scale `rate`."""

    concentration: Any = _field()
    rate: Any = _field(1.0)

    def check(self) -> None:
        c, r = self.concentration, self.rate
        self._require(lambda: np.greater(c, 0) & np.greater(r, 0), c, r, cure="concentration and rate must be positive")

    def transport(self, z: jax.Array) -> jax.Array:
        from skyfold.quantiles import normal_to_gamma

        return normal_to_gamma(z, self.concentration) / self.rate

    @property
    def bounded(self) -> tuple[bool, bool]:
        from scipy.special import gammaincinv

        if not _known(self.concentration):
            return False, False
        return _is_reached(gammaincinv(self.concentration, _TINY) / self.concentration), False

    def support(self) -> tuple[Any, Any]:
        return 0.0, np.inf


class StudentT(_Scaled):
    """Student's t with `df` degrees of freedom, location `loc` and `scale`."""

    df: Any = _field()
    loc: Any = _field(0.0)
    scale: Any = _field(1.0)

    def check(self) -> None:
        super().check()
        self._require(lambda: np.greater(self.df, 0), self.df, cure="df must be positive")

    def transport(self, z: jax.Array) -> jax.Array:
        from skyfold.quantiles import normal_to_student_t

        return self.loc + self.scale * normal_to_student_t(z, self.df)


class MultivariateNormal(_Checked):
    """Normal vector with mean `loc` (n,) and `covariance` (n, n); a scalar `loc` is the mean of every entry."""

    loc: Any = _field()
    covariance: Any = _field()

    def check(self) -> None:
        c = self.covariance
        if not _known(c):
            return
        square = np.ndim(c) == 2 and np.shape(c)[0] == np.shape(c)[1]
        if not square or not np.allclose(c, np.transpose(c)) or np.min(np.linalg.eigvalsh(c)) <= 0:
            raise SkyfoldError("MultivariateNormal needs a symmetric positive definite covariance of shape (n, n).")
        if _known(self.loc) and np.shape(self.loc) not in ((), np.shape(c)[:1]):
            raise SkyfoldError(f"MultivariateNormal: loc {np.shape(self.loc)} does not fit covariance {np.shape(c)}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return shape_of(self.covariance)[:1]

    def transport(self, z: jax.Array) -> jax.Array:
        return self.loc + jnp.linalg.cholesky(jnp.asarray(self.covariance)) @ z


class Dirichlet(_Checked):
    """Weights that sum to 1, with `concentration` (n,); n - 1 latent coordinates by stick-breaking."""

    concentration: Any = _field()

    def check(self) -> None:
        c = self.concentration
        if _known(c) and (np.ndim(c) != 1 or np.size(c) < 2):
            raise SkyfoldError("Dirichlet needs a concentration vector of at least two entries.")
        self._require(lambda: np.greater(c, 0), c, cure="every concentration must be positive")

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return (self.shape[0] - 1,)

    def transport(self, z: jax.Array) -> jax.Array:
        from skyfold.quantiles import normal_to_beta_pair

        alpha = jnp.asarray(self.concentration)
        rest = jnp.cumsum(alpha[::-1])[::-1][1:]
        # the fraction of what is left that each piece takes, and what it leaves
        taken, left = normal_to_beta_pair(z, alpha[:-1], rest)
        before = jnp.concatenate([jnp.ones(1), jnp.cumprod(left)])
        return before * jnp.concatenate([taken, jnp.ones(1)])

    def support(self) -> tuple[Any, Any]:
        return 0.0, 1.0


class NumPyroPrior(Prior):
    """Any other NumPyro distribution, through its constraint bijector.

    Its transport is not a normal one, so its density enters as a correction, and methods that need the unit cube
    refuse it.
    """

    numpyro: Any

    def __init__(self, distribution: Any) -> None:
        if distribution.support.is_discrete:
            raise SkyfoldError(f"{type(distribution).__name__} is discrete; skyfold's parameters are continuous.")
        self.numpyro = distribution

    @property
    def _bijector(self) -> Any:
        from numpyro.distributions import biject_to

        return biject_to(self.numpyro.support)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.numpyro.shape())

    @property
    def latent_shape(self) -> tuple[int, ...]:
        return tuple(self._bijector.inverse_shape(self.shape))

    @property
    def exact(self) -> bool:
        return False

    def transport(self, z: jax.Array) -> jax.Array:
        return self._bijector(z)

    def correction(self, z: jax.Array) -> jax.Array:
        x = self._bijector(z)
        log_density = jnp.sum(self.numpyro.log_prob(x)) + jnp.sum(self._bijector.log_abs_det_jacobian(z, x))
        return log_density + 0.5 * jnp.sum(z**2) + 0.5 * z.size * jnp.log(2 * jnp.pi)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Latent coordinates of one draw of the distribution, shape `latent_shape`."""
        x = self.numpyro.sample(jax.random.key(int(rng.integers(2**31))))
        return np.asarray(self._bijector.inv(x))

    def support(self) -> tuple[Any, Any]:
        constraint = self.numpyro.support
        return getattr(constraint, "lower_bound", -np.inf), getattr(constraint, "upper_bound", np.inf)

    def __repr__(self) -> str:
        return f"numpyro {type(self.numpyro).__name__}"


def numpyro_distribution(prior: Prior) -> Any:
    """Build the NumPyro distribution that a prior specifies (its arguments must be numbers or arrays)."""
    import numpyro.distributions as dist

    if isinstance(prior, NumPyroPrior):
        return prior.numpyro
    a = dict(prior.arguments())
    build: dict[type, Callable[[], Any]] = {
        Uniform: lambda: dist.Uniform(a["low"], a["high"]),
        LogUniform: lambda: dist.LogUniform(a["low"], a["high"]),
        Normal: lambda: dist.Normal(a["loc"], a["scale"]),
        LogNormal: lambda: dist.LogNormal(a["loc"], a["scale"]),
        HalfNormal: lambda: dist.HalfNormal(a["scale"]),
        TruncatedNormal: lambda: dist.TruncatedNormal(a["loc"], a["scale"], low=a["low"], high=a["high"]),
        Beta: lambda: dist.Beta(a["a"], a["b"]),
        Gamma: lambda: dist.Gamma(a["concentration"], a["rate"]),
        StudentT: lambda: dist.StudentT(a["df"], a["loc"], a["scale"]),
        MultivariateNormal: lambda: dist.MultivariateNormal(
            jnp.broadcast_to(a["loc"], prior.shape), covariance_matrix=a["covariance"]
        ),
        Dirichlet: lambda: dist.Dirichlet(a["concentration"]),
    }
    return build[type(prior)]()
