"""A chunk of a catalogue: from the data of some objects to what is known of each, a pure function."""

from __future__ import annotations

import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from skyfold.catalogs.engine import BLOCK, Former, expected_at, explore, explore_further, finish
from skyfold.catalogs.judge import QUANTILES, Verdict, judge, resampled, summary
from skyfold.catalogs.library import MEMBERS, Beginning, Library
from skyfold.catalogs.problem import Problem
from skyfold.catalogs.settings import CatalogSettings
from skyfold.inference.importance.psis import kish

#: How an object's draws came about: the first try, one of more draws, `auto` on its own; or that there are none.
STAGES = ("batch", "batch, more draws", "auto", "not fitted")
#: Equally weighted draws that summaries are made of.
_DRAWS = 1000
_MEMBERS = ("members", "member_expected", "member_factors")


@dataclass(frozen=True)
class Work:
    """All that a chunk needs besides the numbers of its objects."""

    problem: Problem
    library: Library
    settings: CatalogSettings
    seed: int

    def chunk(self, numbers: np.ndarray) -> dict[str, np.ndarray]:
        """Fit the objects of these numbers; one array for each result.

        What cannot be fitted has NaN for its numbers, and a ``problem`` that says why; the others are as without it.
        """
        begin = time.perf_counter()
        problems = self.problems(numbers)
        done, stage = self._unfitted(len(numbers)), np.full(len(numbers), STAGES.index("not fitted"), dtype=np.int8)
        fit = np.array([i for i, problem in enumerate(problems) if not problem], dtype=int)
        if fit.size:
            found, all_former = self._explored(numbers[fit], self.settings.chunk, 0, None)
            for place, i in enumerate(fit):
                former = jax.tree.map(lambda x, k=place: x[[k, k + self.settings.chunk]], all_former)
                own, stage[i] = {name: values[place] for name, values in found.items()}, 0
                for attempt in range(1, self.settings.tries):
                    if own["passed"]:
                        break
                    again, former = self._explored(numbers[[i]], 1, attempt, former)
                    own, stage[i] = {name: values[0] for name, values in again.items()}, 1
                try:
                    if not own["passed"]:
                        own, stage[i] = {name: values[0] for name, values in self._alone(int(numbers[i])).items()}, 2
                except Exception as problem:
                    # whatever one object does to a method, the others of the catalogue are not lost
                    problems[i] = f"number {numbers[i]}: it cannot be fitted ({type(problem).__name__}: {problem})"
                    stage[i] = STAGES.index("not fitted")
                    continue
                for name in done:
                    done[name][i] = own[name]
        seconds = np.full(len(numbers), (time.perf_counter() - begin) / len(numbers))
        return {**done, "stage": stage, "seconds": seconds, "problem": np.array(problems)}

    def problems(self, numbers: np.ndarray) -> list[str]:
        """What was wrong with each object from the beginning; "" where nothing was."""
        known = getattr(self.problem, "problems", None)
        return [""] * len(numbers) if known is None else [str(known[i]) for i in numbers]

    def _unfitted(self, n: int) -> dict[str, np.ndarray]:
        """Results of `n` objects that were not fitted."""
        width = sum(int(np.prod(p.shape)) for p in self.problem.template.parameters) + len(self.problem.columns)
        shapes = {"draws": (n, self.settings.kept, width), "mean": (n, width), "sd": (n, width)}
        shapes |= {"quantiles": (n, width, len(QUANTILES))}
        names = (*shapes, "khat", "effective", "rhat", "uncovered", "log_evidence", self.problem.statistic)
        nothing = {name: np.full(shapes.get(name, (n,)), np.nan) for name in names}
        return {**nothing, "draws": nothing["draws"].astype(np.float32), "passed": np.zeros(n, dtype=bool)}

    def _explored(
        self, numbers: np.ndarray, size: int, attempt: int, former: Former | None
    ) -> tuple[dict[str, np.ndarray], Former]:
        """Batched exploration of at most `size` objects; fewer are filled up, for one executable.

        With `former` it goes on from there. What it ends with itself, first and second halves of all, is returned too.
        """
        n, settings = len(numbers), self.settings
        more = settings.more**attempt
        full = numbers[np.arange(size) % n]
        begins = []
        for half in range(2):
            z, expected = self.library.z[half], self.library.expected[half]
            logs = self.problem.guide(full, expected)
            for i, number in enumerate(full):
                rng = np.random.default_rng([self.seed, 41, int(number), half, attempt])
                begins.append(Beginning.of(z, expected, logs[i], settings.starts, rng))
        # each half's proposals are tested at the other half's points
        tests = [begins[(k + size) % (2 * size)] for k in range(2 * size)]
        twice = jax.tree.map(lambda x: np.concatenate([x, x]), self.problem.data(full))
        keys = np.stack(
            [
                np.asarray(jax.random.key_data(jax.random.key(hash_of(self.seed, int(number), half, attempt))))
                for half in range(2)
                for number in full
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
        tested = np.stack([b.tests for b in tests]), np.stack([b.test_expected for b in tests])
        rest = own, other, tested, float(self.library.z.shape[1]), jnp.asarray(keys)
        effort, target = (settings.adaptation * more, settings.draws * more), self.problem.target
        if former is None:
            begun = (np.stack([getattr(b, name) for b in begins]) for name in ("starts", "centre", "spread"))
            found = explore(settings.steps, settings.rounds, *effort, target, twice, *begun, *rest)
        else:
            found = explore_further(*effort, target, twice, former, *rest)
        found = jax.tree.map(np.asarray, found)
        z, expected, log_weights, proposal, density, mixture = found
        verdicts, chosen_z, chosen_m = [], [], []
        for i in range(n):
            pair = (i, i + size)
            judged = [(density[k], proposal[k]) for k in pair]
            verdict, weights = judge(z[list(pair)], log_weights[list(pair)], judged)
            rng = np.random.default_rng([self.seed, 42, int(numbers[i]), attempt])
            where = resampled(weights, _DRAWS, rng)
            verdicts.append(verdict)
            chosen_z.append(np.concatenate([z[pair[0]], z[pair[1]]])[where])
            chosen_m.append(np.concatenate([expected[pair[0]], expected[pair[1]]])[where])
        passed = np.array([v.passes(settings) for v in verdicts])
        described = self._described(numbers, np.stack(chosen_z), np.stack(chosen_m), verdicts, passed, size)
        return described, Former(mixture, z[:, MEMBERS:], expected[:, MEMBERS:])

    def _alone(self, number: int) -> dict[str, np.ndarray]:
        """One object by `auto`, which falls back on SMC or NUTS."""
        posterior = self.problem.posterior(number)
        draws = posterior.fit("auto", seed=hash_of(self.seed, number, 0, 2), progress=False).draws
        latent = draws.latent.reshape(-1, posterior.ndim)
        weights = draws.weights().ravel()
        where = resampled(weights, _DRAWS, np.random.default_rng([self.seed, 43, number]))
        z = latent[where]
        padded = z[np.arange(-(-_DRAWS // BLOCK) * BLOCK) % _DRAWS]
        expected = np.asarray(expected_at(self.problem.target, padded))[:_DRAWS]
        evidence = -np.inf if draws.log_evidence is None else float(draws.log_evidence)
        khat = float(draws.diagnostics.get("khat", np.nan))
        verdict = Verdict(khat, kish(weights), np.nan, np.nan, evidence, np.nan)
        passed = np.array([bool(draws.converged)])
        return self._described(np.array([number]), z[None], expected[None], [verdict], passed, 1)

    def _described(
        self,
        numbers: np.ndarray,
        z: np.ndarray,
        expected: np.ndarray,
        verdicts: list[Verdict],
        passed: np.ndarray,
        size: int,
    ) -> dict[str, np.ndarray]:
        n, kept = len(numbers), self.settings.kept
        fill = np.arange(size) % n
        u = np.stack([np.random.default_rng([self.seed, 44, int(k)]).random(z.shape[1]) for k in numbers])
        data = self.problem.data(numbers[fill])
        values, (more, statistic) = finish(self.problem.target, data, z[fill], expected[fill], u[fill])
        columns = [np.asarray(v)[:n].reshape(n, z.shape[1], -1) for v in (*values, more)]
        all_ = np.concatenate(columns, axis=2)
        told = {f: np.array([getattr(v, f) for v in verdicts]) for f in ("khat", "effective", "rhat", "uncovered")}
        return {
            "draws": all_[:, :kept].astype(np.float32),
            **summary(all_),
            **told,
            "log_evidence": np.array([v.log_evidence for v in verdicts]),
            self.problem.statistic: np.asarray(statistic)[:n].min(axis=1),
            "passed": passed,
        }


def hash_of(*numbers: int) -> int:
    """A seed that depends on all of the numbers."""
    return int(np.random.SeedSequence([45, *numbers]).generate_state(1)[0])
