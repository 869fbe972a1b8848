"""Dynesty: nested sampling of the package dynesty, an extra."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skyfold.errors import SkyfoldError
from skyfold.inference.nested_sampling.finish import weighted_draws
from skyfold.inference.nested_sampling.unit_cube import Cube, require_package, to_latent
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress
from skyfold.posterior import Posterior

#: Dimensions from which on dynesty would take random walks, and slice steps per dimension that are taken instead. With
#: dynesty's own 3 + ndim, new points stay near those they set out from: in 28 dimensions ln Z was 2 too high.
_WALKS, _SWEEPS = 8, 4


@dataclass(frozen=True)
class Dynesty(Method):
    """Nested sampling within ellipsoids around the live points (Speagle 2020, MNRAS 493, 3132).

    dynesty asks for one likelihood after the other, so that nothing is gained from vectorisation.

    Parameters
    ----------
    live : int
        Live points; the error of the log evidence goes down with their square root.
    remainder : float
        Log evidence that may be left in the live points at the end.
    sample : str
        How points are drawn: ``unif``, ``rwalk``, ``slice`` or ``rslice``; ``auto`` is dynesty's own choice up to 8
        dimensions and ``rslice`` beyond, where the random walks that dynesty would take give wrong answers on curved
        posteriors.
    slices : int, optional
        Slice steps to each new point; None takes 4 for each dimension.
    bound : str
        What bounds the live points: ``multi``, ``single``, ``balls``, ``cubes`` or ``none``.
    max_evaluations : int or None
        Likelihood evaluations after which to stop in any case.
    screen, starts : int
        Prior draws and starts of the search for maxima, which checks that the draws miss none.
    """

    name: ClassVar[str] = "dynesty"
    live: int = 500
    remainder: float = 0.01
    sample: str = "auto"
    slices: int | None = None
    bound: str = "multi"
    max_evaluations: int | None = None
    screen: int = 2048
    starts: int = 16

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        dynesty = require_package("dynesty", self.name)
        if checkpoint.path is not None:
            raise SkyfoldError(
                "dynesty can only keep its state in a form that executes whatever is in the file, so that skyfold does "
                "not read it. Leave checkpoint out, or use nested, ultranest or nautilus."
            )
        clock = Clock()
        sample = "rslice" if self.sample == "auto" and posterior.ndim > _WALKS else self.sample
        slices = (self.slices or _SWEEPS * posterior.ndim) if sample in ("slice", "rslice") else None
        cube = Cube(posterior, self.name, progress)
        sampler = dynesty.NestedSampler(
            lambda u: float(cube(u[None])[0]),
            lambda u: u,
            posterior.ndim,
            nlive=self.live,
            bound=self.bound,
            sample=sample,
            slices=slices,
            rstate=np.random.default_rng(seed),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The sampling was stopped short")  # said in a message below
            sampler.run_nested(dlogz=self.remainder, maxcall=self.max_evaluations, print_progress=False)
        found = sampler.results
        messages = []
        # what was left when the live points were added
        dead = len(found.logl) - self.live
        log_left = float(found.logvol[dead - 1] + np.max(found.logl)) if dead > 0 else np.inf
        left = float(np.logaddexp(found.logz[-1], log_left) - found.logz[-1])
        if self.max_evaluations is not None and cube.evaluations >= self.max_evaluations and left > self.remainder:
            messages.append(f"stopped after {cube.evaluations} evaluations: raise max_evaluations")
        return weighted_draws(
            self,
            posterior,
            to_latent(np.asarray(found.samples_u)),
            np.asarray(found.logl),
            np.asarray(found.logwt),
            (float(found.logz[-1]), float(found.logzerr[-1])),
            seed=seed,
            clock=clock,
            evaluations=cube.evaluations,
            messages=messages,
            diagnostics={
                "information": float(found.information[-1]),
                "remainder": left,
                "efficiency": float(found.eff),
            },
        )
