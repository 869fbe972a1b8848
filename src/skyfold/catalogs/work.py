"""A chunk of a catalogue: from the fluxes of some galaxies to what is known of each, a pure function."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.catalogs.engine import BLOCK, Former, explore, explore_further, finish, library_fluxes
from skyfold.catalogs.judge import Verdict, judge, resampled, summary
from skyfold.catalogs.library import MEMBERS, Beginning, Library
from skyfold.catalogs.settings import CatalogSettings
from skyfold.galaxy.catalog_rows import Rows
from skyfold.galaxy.filters import Filter
from skyfold.galaxy.limited_mass import Fluxes, single_posterior
from skyfold.galaxy.redshift_table import RedshiftTable
from skyfold.parameters import Prior
from skyfold.posterior import Posterior

#: How a galaxy's draws came about: the first try, one of more draws, `auto` on its own.
STAGES = ("batch", "batch, more draws", "auto")
#: Equally weighted draws that summaries are made of.
_DRAWS = 1000
_MEMBERS = ("members", "member_fluxes", "member_factors")


@dataclass(frozen=True)
class Work:
    """All that a chunk needs besides its galaxies.

    Attributes
    ----------
    model : galaxy of one solar mass.
    filters : bands.
    mass : prior of the mass, Msun.
    table : populations seen through the bands at every redshift, None where the redshift is fixed.
    library : prior draws and their fluxes.
    template : posterior whose kernel all galaxies share.
    limits : whether any galaxy of the catalogue has upper limits.
    """

    model: Any
    filters: tuple[Filter, ...]
    mass: Prior
    table: RedshiftTable | None
    library: Library
    template: Posterior
    settings: CatalogSettings
    seed: int
    limits: bool = False

    def posterior(self, row: Rows) -> Posterior:
        """Posterior of one galaxy, for any method."""
        return single_posterior(self.model, self.filters, self.mass, self.table, row)

    def chunk(self, rows: Rows, first: int) -> dict[str, np.ndarray]:
        """Fit galaxies, of which the first is number `first` of the catalogue; one array for each result."""
        begin = time.perf_counter()
        n = len(rows)
        numbers = first + np.arange(n)
        done, all_former = self._explored(rows, numbers, self.settings.chunk, 0, None)
        stage = np.zeros(n, dtype=np.int8)
        for i in np.flatnonzero(~done["passed"]):
            former = jax.tree.map(lambda x, i=i: x[[i, i + self.settings.chunk]], all_former)
            for attempt in range(1, self.settings.tries):
                again, former = self._explored(rows.part([i]), numbers[[i]], 1, attempt, former)
                stage[i] = 1
                for name in done:
                    done[name][i] = again[name][0]
                if done["passed"][i]:
                    break
        for i in np.flatnonzero(~done["passed"]):
            alone = self._alone(rows.part([i]), int(numbers[i]))
            stage[i] = 2
            for name in done:
                done[name][i] = alone[name][0]
        seconds = np.full(n, (time.perf_counter() - begin) / n)
        return {**done, "stage": stage, "seconds": seconds}

    def _explored(
        self, rows: Rows, numbers: np.ndarray, size: int, attempt: int, former: Former | None
    ) -> tuple[dict[str, np.ndarray], Former]:
        """Batched exploration of at most `size` galaxies; fewer are filled up, for one executable.

        With `former` it goes on from there. What it ends with itself, first and second halves of all, is returned too.
        """
        n, settings = len(rows), self.settings
        more = settings.more**attempt
        full = rows.part(np.arange(size) % n)
        full_numbers = numbers[np.arange(size) % n]
        begins = []
        sigma = np.where(full.limit, np.inf, full.sigma)
        low, high = (float(x) for x in self.mass.support())
        for half in range(2):
            logs = self.library.log_likelihood(half, full.data, sigma, low, high)
            for i, number in enumerate(full_numbers):
                rng = np.random.default_rng([self.seed, 41, int(number), half, attempt])
                begins.append(
                    Beginning.of(self.library.z[half], self.library.fluxes[half], logs[i], settings.starts, rng)
                )
        # each half's proposals are tested at the other half's points
        tests = [begins[(k + size) % (2 * size)] for k in range(2 * size)]
        fluxes = Fluxes.of(full.data, full.sigma, full.limit, self.limits)
        twice = jax.tree.map(lambda x: np.concatenate([x, x]), fluxes)
        keys = np.stack(
            [
                np.asarray(jax.random.key_data(jax.random.key(hash_of(self.seed, int(number), half, attempt))))
                for half in range(2)
                for number in full_numbers
            ]
        )
        members = [tuple(getattr(b, name) for name in _MEMBERS) for b in begins]
        own, other = (
            tuple(
                np.stack(parts)
                for parts in zip(*(members[(k + shift) % (2 * size)] for k in range(2 * size)), strict=True)
            )
            for shift in (0, size)
        )
        tested = np.stack([b.tests for b in tests]), np.stack([b.test_fluxes for b in tests])
        rest = own, other, tested, float(self.library.z.shape[1]), jnp.asarray(keys)
        effort, kernel = (settings.adaptation * more, settings.draws * more), self.template.kernel
        if former is None:
            begun = (np.stack([getattr(b, name) for b in begins]) for name in ("starts", "centre", "spread"))
            found = explore(settings.steps, settings.rounds, *effort, kernel, twice, *begun, *rest)
        else:
            found = explore_further(*effort, kernel, twice, former, *rest)
        found = jax.tree.map(np.asarray, found)
        z, expected, log_weights, proposal, target, mixture = found
        verdicts, chosen_z, chosen_f = [], [], []
        for i in range(n):
            pair = (i, i + size)
            judged = [(target[k], proposal[k]) for k in pair]
            verdict, weights = judge(z[list(pair)], log_weights[list(pair)], judged)
            rng = np.random.default_rng([self.seed, 42, int(numbers[i]), attempt])
            where = resampled(weights, _DRAWS, rng)
            verdicts.append(verdict)
            chosen_z.append(np.concatenate([z[pair[0]], z[pair[1]]])[where])
            chosen_f.append(np.concatenate([expected[pair[0]], expected[pair[1]]])[where])
        passed = np.array([v.passes(settings) for v in verdicts])
        described = self._described(rows, numbers, np.stack(chosen_z), np.stack(chosen_f), verdicts, passed, size)
        return described, Former(mixture, z[:, MEMBERS:], expected[:, MEMBERS:])

    def _alone(self, row: Rows, number: int) -> dict[str, np.ndarray]:
        """One galaxy by `auto`, which falls back on SMC or NUTS."""
        posterior = self.posterior(row)
        draws = posterior.fit("auto", seed=hash_of(self.seed, number, 0, 2), progress=False).draws
        latent = draws.latent.reshape(-1, posterior.ndim)
        weights = draws.weights().ravel()
        where = resampled(weights, _DRAWS, np.random.default_rng([self.seed, 43, number]))
        z = latent[where]
        padded = z[np.arange(-(-_DRAWS // BLOCK) * BLOCK) % _DRAWS]
        expected = np.asarray(library_fluxes(self.template.kernel, padded))[:_DRAWS]
        evidence = -np.inf if draws.log_evidence is None else float(draws.log_evidence)
        khat = float(draws.diagnostics.get("khat", np.nan))
        verdict = Verdict(khat, float(1.0 / np.sum(weights**2)), np.nan, np.nan, evidence, np.nan)
        passed = np.array([bool(draws.converged)])
        return self._described(row, np.array([number]), z[None], expected[None], [verdict], passed, 1)

    def _described(
        self,
        rows: Rows,
        numbers: np.ndarray,
        z: np.ndarray,
        expected: np.ndarray,
        verdicts: list[Verdict],
        passed: np.ndarray,
        size: int,
    ) -> dict[str, np.ndarray]:
        n, kept = len(rows), self.settings.kept
        fill = np.arange(size) % n
        u = np.stack([np.random.default_rng([self.seed, 44, int(k)]).random(z.shape[1]) for k in numbers])
        fluxes = Fluxes.of(rows.data[fill], rows.sigma[fill], rows.limit[fill], self.limits)
        values, mass = finish(self.template.kernel, fluxes, z[fill], expected[fill], u[fill])
        columns = [np.asarray(v)[:n].reshape(n, z.shape[1], -1) for v in values]
        masses = np.asarray(mass)[:n]
        with np.errstate(divide="ignore"):
            all_ = np.concatenate([*columns, np.log10(masses)[..., None]], axis=2)
        sigma = np.where(rows.limit, np.inf, rows.sigma)[:, None]
        chi2 = np.sum(((rows.data[:, None] - masses[..., None] * expected) / sigma) ** 2, axis=2).min(axis=1)
        told = {f: np.array([getattr(v, f) for v in verdicts]) for f in ("khat", "effective", "rhat", "uncovered")}
        return {
            "draws": all_[:, :kept].astype(np.float32),
            **summary(all_),
            **told,
            "log_evidence": np.array([v.log_evidence for v in verdicts]),
            "chi2": chi2,
            "passed": passed,
        }


def hash_of(*numbers: int) -> int:
    """A seed that depends on all of the numbers."""
    return int(np.random.SeedSequence([45, *numbers]).generate_state(1)[0])
