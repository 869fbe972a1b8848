"""UltraNest: nested sampling of the package ultranest, an extra."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skyfold.inference.nested_sampling.finish import weighted_draws
from skyfold.inference.nested_sampling.unit_cube import Cube, checkpoint_folder, require_package, to_latent
from skyfold.inference.running import NO_CHECKPOINT, Checkpoint, Clock, Draws, Method, Progress
from skyfold.posterior import Posterior

#: Points that are drawn and evaluated together.
_TOGETHER = 128


@dataclass(frozen=True)
class UltraNest(Method):
    """Reactive nested sampling within regions of ellipsoids around the live points (Buchner 2021, JOSS 6, 3001).

    Up to `max_region` dimensions points are drawn from the region, beyond by slice steps along differences of live
    points.

    Parameters
    ----------
    live : int
        Fewest live points.
    remainder : float
        Share of the evidence that may be left in the live points at the end.
    log_evidence_error : float
        Error of the log evidence to reach; more live points are added until it is.
    effective : int
        Effective draws to reach.
    max_evaluations : int or None
        Likelihood evaluations after which to stop in any case.
    max_region : int
        Dimensions up to which no slice steps are used.
    sweeps : int
        Slice steps per dimension, beyond.
    screen, starts : int
        Prior draws and starts of the search for maxima, which checks that the draws miss none.
    """

    name: ClassVar[str] = "ultranest"
    live: int = 400
    remainder: float = 0.01
    log_evidence_error: float = 0.5
    effective: int = 400
    max_evaluations: int | None = None
    max_region: int = 8
    sweeps: int = 10
    screen: int = 2048
    starts: int = 16

    def __call__(
        self, posterior: Posterior, seed: int, progress: Progress, checkpoint: Checkpoint = NO_CHECKPOINT
    ) -> Draws:
        ultranest = require_package("ultranest", self.name)
        clock = Clock()
        cube = Cube(posterior, self.name, progress)
        folder = checkpoint_folder(checkpoint, self.name)
        with _global_seed(seed), _quiet():
            sampler = ultranest.ReactiveNestedSampler(
                [f"u{i}" for i in range(posterior.ndim)],
                cube,
                vectorized=True,
                log_dir=None if folder is None else str(folder),
                resume="resume",
                # between the two UltraNest chooses by the clock, and the seed would not repeat
                ndraw_min=_TOGETHER,
                ndraw_max=_TOGETHER,
            )
            if posterior.ndim > self.max_region:
                from ultranest.popstepsampler import PopulationSimpleSliceSampler, generate_mixture_random_direction

                sampler.stepsampler = PopulationSimpleSliceSampler(
                    popsize=max(64, self.live // 8),
                    nsteps=self.sweeps * posterior.ndim,
                    generate_direction=generate_mixture_random_direction,
                )
            found = sampler.run(
                show_status=False,
                viz_callback=False,
                min_num_live_points=self.live,
                frac_remain=self.remainder,
                dlogz=self.log_evidence_error,
                min_ess=self.effective,
                max_ncalls=self.max_evaluations,
            )
            sampler.pointstore.close()
        drawn = found["weighted_samples"]
        with np.errstate(divide="ignore"):
            log_weights = np.log(np.asarray(drawn["weights"]))
        test = found["insertion_order_MWW_test"]
        left = float(drawn["weights"][-self.live :].sum())
        messages = []
        if self.max_evaluations is not None and found["ncall"] >= self.max_evaluations:
            messages.append(f"stopped after {found['ncall']} evaluations: raise max_evaluations")
        if not test["converged"]:
            messages.append(
                "UltraNest's test of insertion ranks failed: new points are no fair draws, evidence and draws may be "
                "off; use more live points or sweeps"
            )
        if found["logzerr"] > self.log_evidence_error:
            messages.append(
                f"the error of the log evidence is {found['logzerr']:.2g}, above {self.log_evidence_error:.2g}: use "
                "more live points"
            )
        return weighted_draws(
            self,
            posterior,
            to_latent(np.asarray(drawn["upoints"])),
            np.asarray(drawn["logl"]),
            log_weights,
            (float(found["logz"]), float(found["logzerr"])),
            seed=seed,
            clock=clock,
            evaluations=cube.evaluations,
            messages=messages,
            diagnostics={
                "insertion_test": bool(test["converged"]),
                "information": float(found["H"]),
                "last_weights": left,
                "all_evaluations": int(found["ncall"]),
            },
        )


@contextmanager
def _global_seed(seed: int) -> Iterator[None]:
    """Seed NumPy's global generator, the only one that UltraNest draws from, and give it back as it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep UltraNest's log off the terminal."""
    logger = logging.getLogger("ultranest")
    before, handlers = logger.level, list(logger.handlers)
    silent = logging.NullHandler()
    logger.addHandler(silent)
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for handler in [h for h in logger.handlers if h not in handlers]:
            logger.removeHandler(handler)
        logger.setLevel(before)
