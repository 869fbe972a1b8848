"""What the history of groups of chains tells: their autocorrelation time, and whether the groups agree."""

from __future__ import annotations

import numpy as np

from skyfold.inference.convergence.mixing import measure

#: The sum over lags stops at the first that exceeds so many times the sum.
_WINDOW = 5.0


def integrated_time(history: np.ndarray) -> float:
    """Longest integrated autocorrelation time of any coordinate in any ensemble, in units of the history's spacing.

    The autocovariance is averaged over the walkers of an ensemble, about their common mean, and summed up to a window
    that grows with the sum (Sokal 1997, in Functional Integration, p. 131; Goodman & Weare 2010).

    Parameters
    ----------
    history : (times, ensembles, walkers, ndim)

    Returns
    -------
    At least 1; infinite where nothing moved.
    """
    n = len(history)
    x = history - history.mean(axis=(0, 2), keepdims=True)
    size = 2 ** int(np.ceil(np.log2(2 * n)))
    covariance = np.zeros((n, *history.shape[1:2], history.shape[3]))
    for k in range(history.shape[2]):
        power = np.abs(np.fft.rfft(x[:, :, k], n=size, axis=0)) ** 2
        covariance += np.fft.irfft(power, axis=0)[:n]
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = covariance / covariance[:1]
    tau = 2.0 * np.cumsum(rho, axis=0) - 1.0
    beyond = np.arange(n)[:, None, None] >= _WINDOW * tau
    window = np.where(beyond.any(axis=0), beyond.argmax(axis=0), n - 1)
    found = np.take_along_axis(tau, window[None], axis=0)
    return float(np.max(np.where(np.isfinite(found), np.maximum(found, 1.0), np.inf)))


def judge(history: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Draws with one row per group, and the worst R-hat between groups and effective sample size.

    A row holds one chain after the other, so that the memory of chains shows along it and chains that are stuck apart
    count as one draw each; R-hat is also taken of rows in the order of time, which compares the halves of the run.

    Parameters
    ----------
    history : (times, groups, chains, ndim)

    Returns
    -------
    latent : (groups, chains * times, ndim)
    quality : ``rhat``, ``ess``, ``ess_tail``.
    """
    latent = history.transpose(1, 2, 0, 3).reshape(history.shape[1], -1, history.shape[3])
    quality = measure(latent)
    in_time = history.transpose(1, 0, 2, 3).reshape(latent.shape)
    quality["rhat"] = max(quality["rhat"], measure(in_time)["rhat"])
    return latent, quality
