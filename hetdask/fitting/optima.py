"""Distinct optima of a search, and what is thought of the best of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hetdask.fitting.coordinates import Coordinates
from hetdask.fitting.motion import Motion
from hetdask.fitting.starts import FINISH, Found, Target, polish
from hetdask.passes.reduced import ReducedPasses

Array = NDArray[np.float64]

KEPT: Final = 6
"""Distinct optima that are remembered."""

SAME_LEVEL: Final = 1e-4
"""Relative fall of χ² within an optimum that does not change the verdict on it."""


@dataclass(frozen=True, slots=True, eq=False)
class Optimum:
    """A minimum of χ².

    Attributes
    ----------
    vector : (14,) float64
        The canonical one of its parameter vectors.
    position : (n,) float64
        Its coordinates.
    chi_squared : float
        In units of the white noise.
    reached : int
        Starts that ended here.
    motion : Motion
        What it means, as far as the data tell.
    """

    vector: Array
    position: Array
    chi_squared: float
    reached: int
    motion: Motion

    def same(self, other: Optimum) -> bool:
        """Whether both describe the same motion, as far as data tell."""
        better, worse = (self, other) if self.chi_squared <= other.chi_squared else (other, self)
        return better.motion.same(worse.motion)


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What a judge says of an optimum.

    Attributes
    ----------
    believed : bool
    at_once : bool
        Whether it is believed without another round of random points, or nearly all starts that agree.
    position : (n,) float64
        Coordinates that the judge came to, which may lead to a better optimum.
    """

    believed: bool
    at_once: bool
    position: Array


class Pool:
    """Distinct optima, best first."""

    def __init__(self, passes: ReducedPasses, coordinates: Coordinates) -> None:
        self.optima: list[Optimum] = []
        self.judged: tuple[Optimum, Verdict] | None = None
        self._passes = passes
        self._n_points = int(np.count_nonzero(passes.reduced.count))
        self._coordinates = coordinates

    def add(self, found: Sequence[Found], reached: Sequence[int] | None = None) -> None:
        """Take in where starts ended, in their order."""
        for x, count in zip(found, reached or [1] * len(found), strict=True):
            self._add(self.optimum(x, count))
        self.optima = sorted(self.optima, key=lambda x: x.chi_squared)[:KEPT]

    def follow(self, position: Array) -> None:
        """Take in the optimum that is reached from the coordinates `position` (n,); it is no start of its own."""
        target = Target(self._passes, self._coordinates)
        self.add([polish(target, position, self._coordinates, FINISH)], [0])

    def verdict(self) -> Verdict | None:
        """That on the best optimum, or on one so near that it would be the same; None before it has been judged."""
        if self.judged is None:
            return None
        best, (judged, verdict) = self.optima[0], self.judged
        near = best.same(judged) and best.chi_squared > (1.0 - SAME_LEVEL) * judged.chi_squared
        return verdict if near else None

    def _add(self, new: Optimum) -> None:
        for k, old in enumerate(self.optima):
            if old.same(new):
                better = new if new.chi_squared < old.chi_squared else old
                self.optima[k] = replace(better, reached=old.reached + new.reached)
                return
        self.optima.append(new)

    def optimum(self, found: Found, reached: int = 1) -> Optimum:
        """Where a start ended as an optimum."""
        vector = self._coordinates.canonical(self._coordinates.decode(found.position))
        information = found.hessian * (self._n_points / found.chi_squared)
        return Optimum(
            vector=vector,
            position=self._coordinates.encode(vector),
            chi_squared=found.chi_squared,
            reached=reached,
            motion=Motion.of(self._coordinates, found.position, information, self._passes.series),
        )
