"""Dust of two components: clouds in which stars are born, and what lies between the stars."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from skyfold.galaxy.dust.law import DustLaw
from skyfold.parameters import Value, parameter
from skyfold.priors import Uniform


class CharlotFall(DustLaw):
    r"""Two power laws: all stars shine through the diffuse dust, young ones through their birth clouds as well.

    .. math:: \tau_\mathrm{old} = \tau_\mathrm{diff} (\lambda/5500\,\mathrm{\AA})^{s}, \quad
        \tau_\mathrm{young} = \tau_\mathrm{old} + \tau_\mathrm{bc} (\lambda/5500\,\mathrm{\AA})^{s_\mathrm{bc}}

    Parameters
    ----------
    tau_bc : optical depth of the birth clouds at 5500 Angstrom, on top of the diffuse one.
    tau_diff : optical depth of the diffuse dust at 5500 Angstrom.
    slope : exponent s of the diffuse dust, default -0.7.
    slope_bc : exponent of the birth clouds, default -0.7 (Charlot & Fall); -1.3 is that of da Cunha et al. 2008.
    t_birth : age in Gyr at which the clouds are gone, default 0.01.

    References
    ----------
    Charlot & Fall 2000, ApJ 539, 718; da Cunha, Charlot & Elbaz 2008, MNRAS 388, 1595.
    """

    name: ClassVar[str] = "charlot_fall"
    tau_bc: Value = parameter(Uniform(0.0, 4.0), description="optical depth of birth clouds at 5500 Angstrom")
    tau_diff: Value = parameter(Uniform(0.0, 4.0), description="optical depth of diffuse dust at 5500 Angstrom")
    slope: Value = parameter(-0.7, description="exponent of the diffuse dust")
    slope_bc: Value = parameter(-0.7, description="exponent of the birth clouds")
    t_birth: Value = parameter(0.01, unit="Gyr", description="age at which birth clouds are gone")

    def transmission(self, wave: Any) -> tuple[jax.Array, jax.Array]:
        log_wave = jnp.log(jnp.asarray(wave) / 5500.0)
        diffuse = self.tau_diff * jnp.exp(self.slope * log_wave)
        birth = self.tau_bc * jnp.exp(self.slope_bc * log_wave)
        return jnp.exp(-diffuse - birth), jnp.exp(-diffuse)


class TwoComponent(DustLaw):
    """Any two laws: all stars shine through `diffuse`, young ones through `birth` as well.

    Parameters
    ----------
    birth, diffuse : laws of single screens, such as ``SMC()`` and ``KriekConroy()``.
    t_birth : age in Gyr at which the birth clouds are gone, default 0.01.
    """

    name: ClassVar[str] = "two_component"
    birth: DustLaw
    diffuse: DustLaw
    t_birth: Value = parameter(0.01, unit="Gyr", description="age at which birth clouds are gone")

    def transmission(self, wave: Any) -> tuple[jax.Array, jax.Array]:
        old = self.diffuse.transmission(wave)[1]
        return old * self.birth.transmission(wave)[0], old
