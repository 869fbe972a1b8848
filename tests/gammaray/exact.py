"""Arbitrary-precision answers for the point-source likelihood, by formulas other than those of the package."""

from __future__ import annotations

import mpmath as mp


def moment(theta, m, f, weights, s_range=None):
    """x_m of a broken power law by incomplete gamma functions; m = -1 gives the sum of all x_m from 1 on."""
    k = len(theta) // 2 - 1
    a, n, b = mp.mpf(theta[0]), [mp.mpf(v) for v in theta[1 : k + 2]], [mp.mpf(v) for v in theta[k + 2 :]]
    low, high = (mp.mpf(0), mp.inf) if s_range is None else (mp.mpf(s_range[0]), mp.mpf(s_range[1]))
    edges, heights = [mp.inf, *b, mp.mpf(0)], [a]
    for i in range(1, k):
        heights.append(heights[-1] * (b[i] / b[i - 1]) ** -n[i])
    total = mp.mpf(0)
    for i in range(k + 1):
        lo, hi = max(edges[i + 1], low), min(edges[i], high)
        if lo >= hi:
            continue
        scale, at = (heights[0], b[0]) if i == 0 else (heights[i - 1], b[i - 1])
        for fraction, weight in zip(f, weights, strict=True):
            fraction = mp.mpf(fraction)
            if m >= 0:
                part = _gamma(m - n[i] + 1, fraction * lo, fraction * hi) / mp.factorial(m)
            else:  # by parts: integral of y^-n (1 - e^-y)
                p = 1 - n[i]
                ends = [(-mp.expm1(-y) * y**p / p if 0 < y < mp.inf else 0) for y in (fraction * hi, fraction * lo)]
                part = ends[0] - ends[1] - _gamma(p + 1, fraction * lo, fraction * hi) / p
            total += mp.mpf(weight) * scale * at ** n[i] * fraction ** (n[i] - 1) * part
    return total


def _gamma(a, low, high):
    if a == 0 and low == 0:
        return mp.mpf(0)
    return mp.gammainc(a, low, high)


def log_probability(count, mu, templates, populations, f, weights, s_range=None):
    """Logarithm of the probability of `count` in one pixel, by the recursion in arbitrary precision."""
    rates = [mp.mpf(0)] * (count + 1)
    total = mp.mpf(mu)
    for t, theta in zip(templates, populations, strict=True):
        total += mp.mpf(t) * moment(theta, -1, f, weights, s_range)
        for m in range(1, count + 1):
            rates[m] += mp.mpf(t) * moment(theta, m, f, weights, s_range)
    if count:
        rates[1] += mp.mpf(mu)
    return recursion(rates) - total


def recursion(rates):
    """ln(p_d / p_0) for rates X_0 (not used), X_1 ... X_d."""
    p = [mp.mpf(1)]
    for k in range(1, len(rates)):
        p.append(mp.fsum(j * rates[j] * p[k - j] for j in range(1, k + 1)) / k)
    return mp.log(p[-1])
