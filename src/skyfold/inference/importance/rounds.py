"""Adaptation: rounds of importance sampling whose proposals are fitted to the draws until they may be trusted.

The first proposals are those of the modes. Where they fit, weighted draws alone improve them (`refit`); where they do
not, a population of short Markov chains is a better base (`population`). Once enough effective draws promise that the
proposals fit, they stay as they are, so that the evidence is unbiased. Draws are accepted when the Pareto k-hat of the
weights is below 0.7, the effective sample size is reached, and a walk finds no tails that the proposals lack (`tails`).
"""

from __future__ import annotations

import numpy as np

from skyfold.inference.density import CHUNK, evaluate
from skyfold.inference.importance.mixture import Mixture
from skyfold.inference.importance.psis import RELIABLE
from skyfold.inference.importance.ridges import ALLOWED, STEPS, Ridges, extended, walk
from skyfold.inference.importance.sample import Defended, PriorProposal, WeightedSample, refit, split
from skyfold.inference.importance.short_chains import Population, fitted, moves, spread
from skyfold.inference.running import Progress
from skyfold.posterior import Posterior

#: Share of the draws that come from wide copies of the proposals, and how much wider these are.
_DEFENCE = (0.15, 2.0)
#: Share of the draws that come from the prior, up to MANY dimensions.
_PRIOR = 0.02
#: Share of the effective draws wanted from which on the proposals are no longer adapted.
_FROZEN = 0.4
#: Above this efficiency the tails are not walked: a mixture that fits so well ends nowhere early.
_GOOD = 0.6
#: Below this efficiency after so many rounds the proposals are fitted to a population instead.
_POOR, _TRIAL = 0.4, 4
#: Populations after which less is asked for, and that efficiency; a walk past the ends is not mended any more.
_PATIENCE, _BAD = 2, 0.1
#: Populations after which importance sampling gives up, if its efficiency still lies below this.
_LAST, _HOPELESS = 4, 0.01
#: Dimensions from which on a population is no better base than the weighted draws.
MANY = 12
#: Share of the efficiency before the proposals were fixed below which they are fitted anew.
_COLLAPSED = 0.4
#: Batches with fixed proposals that the evidence comes from at least, once the first proposals were given up.
_FIXED = 3


class Adaptation:
    """State of the rounds.

    Parameters
    ----------
    posterior : Posterior
    mixture : the first proposals.
    ridges : what is joined to these and to all that are fitted to a population.
    screened : draws of the prior (n, ndim), their log density and log-likelihood (n,); they are the first draws.
    effective : effective draws (Kish) to reach.
    rng : of the draws.

    Attributes
    ----------
    sample : WeightedSample
        All draws since the last population.
    reached : float
        Effective draws so far.
    hopeless : bool
        Whether to give up before the evaluations are spent.
    """

    def __init__(
        self,
        posterior: Posterior,
        mixture: Mixture,
        ridges: Ridges,
        screened: tuple[np.ndarray, ...],
        effective: int,
        rng: np.random.Generator,
    ) -> None:
        self.posterior = posterior
        self.effective = effective
        self.rng = rng
        self._screened, self._ridges = screened, ridges
        self._begin(mixture)
        self.reached = 0.0
        self.hopeless = False
        self._propose(ridges.joined(mixture))
        self.sample.explored = ridges.evaluations
        self._rounds = self._populations = 0
        self._frozen = self._extended = False
        self._promised = self._beyond = 0.0
        self._walkers = np.empty((0, posterior.ndim))
        self._population: Population | None = None

    @property
    def spent(self) -> int:
        """Evaluations so far, those of the screened draws left out."""
        return self._drawn + self.sample.explored

    def run(self, most: int, progress: Progress) -> str:
        """Go on until the draws are accepted or `most` evaluations are spent; return what is wrong, if anything is."""
        while self.spent < most and not self.hopeless:
            self.draw()
            progress.update(self.reached, f"{self.reached:.0f} of {self.effective} effective draws")
            if self.accepted():
                return ""
            self.adapt()
        return self.complaint()

    def draw(self) -> None:
        """Draw and weight a round."""
        drawn = self._wanted() if self._frozen else CHUNK
        z = self._proposal.draw(drawn, self.rng)
        self.sample.add(z, *evaluate(self.posterior, z), self._proposal, drawn)
        self._rounds += 1
        self.reached = self.sample.effective()

    def accepted(self) -> bool:
        """Whether the draws are enough and to be trusted; where only the tails are in doubt, they are walked."""
        self._walkers = self._walkers[:0]
        begun_anew = self._populations > 0 or self._extended
        # draws of the first round of all are as good as fixed ones
        least = _FIXED * CHUNK if begun_anew else int(self._rounds > 1)
        if not self._enough or self.sample.pareto_k() >= RELIABLE or self.sample.fixed < least:
            return False
        if self._efficiency > _GOOD:
            return True
        self._walkers, self._beyond = walk(self.posterior, self._mixture, self.sample, self.rng)
        self.sample.explored += STEPS * CHUNK
        return self._beyond < ALLOWED

    def adapt(self) -> None:
        """Mend the proposals for the next round, or leave them as they are from now on."""
        many = self.posterior.ndim > MANY
        if len(self._walkers) and self._populations >= _PATIENCE:
            # ends mended piece by piece may look whole to the next walk long before they are (Haario's banana)
            self.hopeless = True
        elif len(self._walkers) and (many or self._populations):
            self._extend()
        elif len(self._walkers) or self._failed():
            self.hopeless = many or (self._populations >= _LAST and self._efficiency < _HOPELESS)
            if not self.hopeless:
                self._populate()
        else:
            self._improve()

    def complaint(self) -> str:
        """Why the draws are not to be trusted."""
        if self._beyond >= ALLOWED:
            return f"importance sampling has not reached the ends of the posterior after {self.spent} evaluations"
        khat = self.sample.pareto_k()
        return f"k-hat {khat:.2f}, {self.reached:.0f} effective draws after {self.spent} evaluations"

    @property
    def _enough(self) -> bool:
        return self.reached >= self.effective

    @property
    def _drawn(self) -> int:
        return len(self.sample) - len(self._screened[0])

    @property
    def _efficiency(self) -> float:
        return self.reached / max(self._drawn, 1)

    def _begin(self, mixture: Mixture) -> None:
        """Forget all draws but the screened ones."""
        self.sample = WeightedSample(self.posterior.ndim)
        z, density, likelihood = self._screened
        self.sample.add(z, density, likelihood, PriorProposal(mixture.coordinates), len(z))

    def _propose(self, mixture: Mixture) -> None:
        self._mixture = mixture
        wide = mixture.defended(*_DEFENCE)
        self._proposal = Defended(wide, _PRIOR) if self.posterior.ndim <= MANY else wide

    def _wanted(self) -> int:
        """Draws of the next round: what the efficiency lets expect to be enough, in whole batches."""
        wanted = 1.05 * (self.effective - self.reached) / self._efficiency
        return int(np.clip(np.ceil(wanted / CHUNK), 1, 8)) * CHUNK

    def _failed(self) -> bool:
        """Whether the proposals do not fit and will not by more of the same."""
        if self._enough and self.sample.pareto_k() >= RELIABLE:
            return True
        if self._frozen:
            # a fixed proposal that comes upon what it does not cover is not waited for
            return self._efficiency < _COLLAPSED * self._promised
        if self._rounds != _TRIAL or self._extended:
            return False
        if self.posterior.ndim > MANY:
            return self._efficiency < _HOPELESS
        return self._efficiency < (_POOR if self._populations < _PATIENCE else _BAD)

    def _extend(self) -> None:
        """Give the mixture a component where the walk came to, and adapt again."""
        self._propose(extended(self._mixture, self._walkers))
        self.sample.thaw()
        self._frozen, self._rounds, self._extended = False, 0, True

    def _populate(self) -> None:
        """Begin anew with proposals fitted to a population."""
        spent = self.spent + moves(self.posterior.ndim) * CHUNK + len(self._walkers)
        self._population = spread(self.posterior, self.sample, self._walkers, self._population, self.rng)
        mixture = self._ridges.joined(fitted(self._population.members, self.sample.coordinates, self.rng))
        self._propose(extended(mixture, self._walkers) if len(self._walkers) else mixture)
        self._begin(mixture)
        self.sample.explored = spent
        self._rounds, self._frozen, self._extended = 0, False, False
        self._populations += 1

    def _improve(self) -> None:
        """Refit to the weighted draws, or stop doing so."""
        ready = not self._extended or self._rounds >= 2
        if not self._frozen and ready and self.reached >= _FROZEN * self.effective:
            # from here on the proposal stays as it is: only then is the evidence unbiased
            self.sample.freeze()
            self._frozen, self._promised = True, self._efficiency
        if self._frozen or (self._populations and self._rounds < 2):
            return
        mixture = self._mixture
        if not self._populations and self._rounds in (2, 4):
            mixture = split(mixture, self.sample)
        self._propose(refit(mixture, self.sample))
