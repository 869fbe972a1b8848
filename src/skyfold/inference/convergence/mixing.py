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


def disagreement(rhat: float, cure: str, groups: str = "") -> tuple[str, ...]:
    """Message where chains, or groups of that name, disagree."""
    if rhat < WORST_RHAT:
        return ()
    between, who = (f" between {groups}", "they") if groups else ("", "the chains")
    return (f"R-hat {rhat:.3f}{between} is not below {WORST_RHAT}: {who} disagree; {cure}",)


def too_few(effective: float, cure: str, what: str = "the smallest effective sample size") -> tuple[str, ...]:
    """Message where draws are worth too few independent ones."""
    if effective > LEAST_ESS:
        return ()
    return (f"{what} is {effective:.0f}, below {LEAST_ESS:.0f}: {cure}",)


def interruption(quality: dict[str, float]) -> tuple[str, ...]:
    """Message where the user stopped the run."""
    return ("sampling was interrupted; what was drawn is kept",) if "interrupted" in quality else ()


def complaints(quality: dict[str, float], divergent: int, total: int) -> tuple[str, ...]:
    """What keeps chains from being called converged."""
    found = []
    if quality.get("ebfmi", 1.0) < LEAST_EBFMI:
        found.append(
            f"E-BFMI {quality['ebfmi']:.2f} is below {LEAST_EBFMI}: chains move slowly through the energies, and tails "
            "may be missing; draw more or reparametrise"
        )
    if divergent > MOST_DIVERGENT * total:
        found.append(f"{divergent} divergent transitions: raise target_accept or reparametrise")
    return (
        *interruption(quality),
        *disagreement(quality["rhat"], "draw more or reparametrise"),
        *too_few(least_ess(quality), "draw more", "the smallest effective sample size (bulk or tail)"),
        *found,
    )
