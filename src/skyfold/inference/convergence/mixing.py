"""Mixing: whether chains agree with each other, and how many independent draws they are worth."""

from __future__ import annotations

import numpy as np

#: What chains must reach to be called converged.
WORST_RHAT, LEAST_ESS, MOST_DIVERGENT, LEAST_EBFMI = 1.01, 400.0, 0.005, 0.3


def measure(latent: np.ndarray) -> dict[str, float]:
    """Worst rank-normalised R-hat and bulk and tail ESS over the latent coordinates of (chains, draws, ndim)."""
    import arviz as az

    data = az.convert_to_dataset({"z": latent})
    return {
        "rhat": float(az.rhat(data)["z"].max()),
        "ess": float(az.ess(data, method="bulk")["z"].min()),
        "ess_tail": float(az.ess(data, method="tail")["z"].min()),
    }


def least_ebfmi(energy: np.ndarray) -> float:
    r"""Smallest E-BFMI of the chains from energies (chunks, draws, chains), about 1 where all is well.

    .. math:: \frac{\sum_n (E_n - E_{n-1})^2}{\sum_n (E_n - \bar E)^2}

    It is small where fresh momenta move chains slowly through the energies (Betancourt 2016, arXiv:1604.00695).
    """
    energy = energy.reshape(-1, energy.shape[-1])
    change = np.sum(np.diff(energy, axis=0) ** 2, axis=0)
    return float(np.min(change / np.maximum(np.sum((energy - energy.mean(axis=0)) ** 2, axis=0), 1e-300)))


def least_ess(quality: dict[str, float]) -> float:
    """Smaller one of the bulk and the tail ESS of `measure`."""
    return min(quality["ess"], quality["ess_tail"])


def complaints(quality: dict[str, float], divergent: int, total: int) -> tuple[str, ...]:
    """What keeps chains from being called converged."""
    found = []
    if "interrupted" in quality:
        found.append("sampling was interrupted; what was drawn is kept")
    if not quality["rhat"] < WORST_RHAT:
        found.append(
            f"R-hat {quality['rhat']:.3f} is not below {WORST_RHAT}: the chains disagree; draw more or reparametrise"
        )
    if not least_ess(quality) > LEAST_ESS:
        found.append(
            f"the smallest effective sample size (bulk or tail) is {least_ess(quality):.0f}, below {LEAST_ESS:.0f}: "
            "draw more"
        )
    if quality.get("ebfmi", 1.0) < LEAST_EBFMI:
        found.append(
            f"E-BFMI {quality['ebfmi']:.2f} is below {LEAST_EBFMI}: chains move slowly through the energies, and tails "
            "may be missing; draw more or reparametrise"
        )
    if divergent > MOST_DIVERGENT * total:
        found.append(f"{divergent} divergent transitions: raise target_accept or reparametrise")
    return tuple(found)
