"""Many fits of the same kind of data, on block means: what the bootstrap and profiles have in common.

Fits of any level of the reduction ladder are unbiased, and one level serves for all sizes of data: the finest that has
no more than `MOST_BLOCKS` block means of each angle and fits into memory. `retained` says what it keeps of the
information in the pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from hetdask.data.reduction import BLOCK_BYTES, blocks_of, level_within, reduce_store
from hetdask.fitting.block_noise import BATCH_VALUES
from hetdask.fitting.problem import Problem
from hetdask.fitting.refine import Refinement
from hetdask.model.parameters import NAMES
from hetdask.passes.normal import project
from hetdask.passes.reduced import ReducedPasses, retained_information
from hetdask.passes.run import Passes, series_of
from hetdask_kernels import LANES

if TYPE_CHECKING:
    from hetdask.data.store import Store
    from hetdask_cluster.memory import MemoryPlan
    from hetdask_cluster.runner import Runner

MOST_BLOCKS: Final = 25_000
"""Block means of each angle, at most."""

ANGLE_ROWS: Final = 3 * len(NAMES) + 12
"""Numbers for each block of one angle that a task holds at its peak: model, derivatives, products, noise."""

SHARED_ROWS: Final = 8
"""The same for each block of all angles: means, counts and variances, and what arrives of them."""

NODE_ROWS: Final = 2 * 4 * LANES + 20
"""The same for each node of one angle, of which there are twice as many as of the smallest ones."""

FRAME_ROWS: Final = LANES + 40
"""The same for each frame."""


def refit_level(n_phi: int, n_frames: int, plan: MemoryPlan | None) -> int:
    """Level of the ladder at which such data are refitted."""
    most = n_phi * MOST_BLOCKS
    return level_within(n_phi, n_frames, most if plan is None else min(most, plan.share // BLOCK_BYTES))


def refit_bytes(n_phi: int, n_frames: int, plan: MemoryPlan | None) -> int:
    """Memory of one task that refits them."""
    level = refit_level(n_phi, n_frames, plan)
    n, nodes = blocks_of(n_frames, level).n_blocks, 2 * -(-n_frames >> level)
    frames = NODE_ROWS * nodes + FRAME_ROWS * n_frames
    return 8 * (ANGLE_ROWS * n + SHARED_ROWS * n_phi * n + frames + 7 * BATCH_VALUES)


@dataclass(frozen=True, slots=True, eq=False)
class Refits:
    """Block means of the data, and a problem that starts at a fit of all pixels.

    Attributes
    ----------
    passes : ReducedPasses
    problem : Problem
        Starts at the fit and weights angles as its last round did.
    retained : float
        Share of the Fisher information that the block means keep.
    """

    passes: ReducedPasses
    problem: Problem
    retained: float

    @property
    def level(self) -> int:
        """Level of the ladder."""
        return self.passes.reduced.level


def prepare_refits(
    store: Store,
    full: Passes,
    problem: Problem,
    fit: Refinement,
    runner: Runner,
    fitted: ReducedPasses | None = None,
) -> Refits:
    """Reduce a store for refits; one pass over the pixels says what the block means keep.

    Parameters
    ----------
    store : Store
    full : Passes
        Of the same store.
    problem : Problem
        That was fitted.
    fit : Refinement
        Its outcome.
    runner : Runner
        Where shards are reduced.
    fitted : ReducedPasses, optional
        What was fitted instead of all pixels.
    """
    again = replace(problem, start=fit.values, sigma=fit.weighted_by)
    level = refit_level(store.n_phi, store.n_frames, runner.plan)
    if fitted is not None and fit.retained_information is not None and fitted.reduced.level >= level:
        return Refits(fitted, again, fit.retained_information)
    passes = ReducedPasses(series_of(store), reduce_store(store, runner, level=level))
    kept, whole = (project(one(fit.values, problem.free)) for one in (passes, full))
    return Refits(passes, again, retained_information(kept, whole))
