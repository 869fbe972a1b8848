"""Settings of a fit to a catalogue."""

from __future__ import annotations

from dataclasses import dataclass

from skyfold.inference.convergence.mixing import LEAST_ESS
from skyfold.inference.importance.psis import RELIABLE
from skyfold.inference.running import check_positive


@dataclass(frozen=True)
class CatalogSettings:
    """How much is spent on an object, and what its draws must show to be accepted.

    Every object is explored by two halves: each has its own starts, random numbers and proposals, adapted on its own
    half of the library, and draws that the other half of the library joins.

    Parameters
    ----------
    library : quasi-random prior draws whose expected data are computed once for all objects.
    starts : starts of Fisher scoring in each half, taken from the library's tempered posterior.
    steps : steps of Fisher scoring of each.
    rounds, adaptation : rounds in which each half adapts its proposals, and draws in each; another try has one more.
    draws : draws of the adapted proposals in each half; only these, and the library's, are kept.
    tries, more : tries before an object is fitted alone, each of which goes on from the proposals and draws that the
        one before ended with, and factor on all of these draws from one to the next.
    khat : largest Pareto k-hat of the weights.
    effective : least effective draws (Kish) of both halves together.
    rhat : largest R-hat between the halves, over all latent coordinates.
    uncovered : largest share of the library's own posterior where a single draw would outweigh a hundredth of all.
    evidence : largest difference between the halves' log evidence.
    kept : equally weighted draws kept for each object.
    chunk : objects in a unit of work.
    """

    library: int = 65536
    starts: int = 36
    steps: int = 6
    rounds: int = 2
    adaptation: int = 384
    draws: int = 1280
    tries: int = 5
    more: int = 2
    khat: float = RELIABLE
    effective: int = int(LEAST_ESS)
    rhat: float = 1.03
    uncovered: float = 0.02
    evidence: float = 0.3
    kept: int = 200
    chunk: int = 32

    def __post_init__(self) -> None:
        check_positive(
            self,
            "library",
            "starts",
            "steps",
            "rounds",
            "adaptation",
            "draws",
            "tries",
            "more",
            "effective",
            "kept",
            "chunk",
        )
