"""Fits weighted with the covariance of the noise: generalised least squares.

Speckle noise is correlated over whole maps in a way that the model itself predicts. Ordinary least squares takes pixels
as independent and so counts what they have in common many times; weighted with the inverse covariance, the same data
give estimates that scatter less. A few hundred block means of each angle hold nearly all of that gain, so the fit costs
no pass over the pixels. Parameters, strengths of white and speckle noise, and covariance are found together, by maximum
likelihood (`hetdask.fitting.likely`), from the optimum of ordinary least squares on.

That holds for data with the noise that is predicted. Where residuals differ from it, what is weighted with the wrong
covariance may be worse than no weights: then ordinary least squares stands, and the reason is told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from hetdask.errors import FitError
from hetdask.fitting.coordinates import make_coordinates
from hetdask.fitting.goodness import Check, structure_of
from hetdask.fitting.identifiability import cautions, identify, inverse_without_null, natural_units
from hetdask.fitting.likely import most_likely, weighted_sums
from hetdask.fitting.noise_model import NoiseModel
from hetdask.fitting.objective import DataPasses
from hetdask.fitting.problem import Problem
from hetdask.fitting.refine import Refinement, angle_fits, bound_flags
from hetdask.fitting.uncertainty import Uncertainty, strayed
from hetdask.passes.normal import project
from hetdask.passes.reduced import ReducedPasses
from hetdask.passes.tiles import Series

if TYPE_CHECKING:
    from hetdask.fitting.cold_start import Near

Array = NDArray[np.float64]

STEPS: Final = 40
"""Gauss-Newton steps at most."""

LEAST_CHANCE: Final = 1e-4
"""Probability that noise alone looks as bad, below which the residuals are not taken for noise."""

LEAST_RISE: Final = 1e-4
"""Log-likelihood below which a step is the last: a hundredth of a standard error."""

AS_PREDICTED: Final = (
    "estimates and errors are weighted with the covariance of white and speckle noise; the residuals correlate as "
    "it predicts"
)
DRIFT: Final = (
    "c2 drifts: its residuals correlate as speckle noise does only if its level may change over the series, here by up "
    "to {percent:.2g} %; weighted estimates and their errors take that into account, plain ones do not"
)
NO_NOISE: Final = "plain weights stand: the noise could not be told from the residuals"
NO_SPECKLES: Final = (
    "plain weights stand: there is no speckle noise in the residuals, so that both weights are the same"
)
NOT_CONVERGED: Final = "plain weights stand: least squares did not converge"
ASTRAY: Final = "plain weights stand: weighted estimates left the optimum of least squares"
UNLIKE: Final = (
    "plain weights stand: the residuals do not correlate as speckle noise does ({excess:.0f} standard deviations), "
    "because the data were smoothed or averaged, the beam drifted, or the model does not describe them; weights that "
    "do not fit the noise could make things worse"
)


LITTLE: Final = (
    "plain weights stand: those of the noise would change the errors by less than a tenth, which is not worth the "
    "doubt whether it is as predicted"
)
PROMISE: Final = "weights: speckle would make them about {gain:.2g} times smaller"

LEAST_GAIN: Final = 1.1
"""Ratio of the errors from which on weights are worth it."""


@dataclass(frozen=True, slots=True, eq=False)
class Weighted:
    """Outcome of a weighted fit.

    Attributes
    ----------
    fit : Refinement
        With the weighted estimates; contrast, offset and residuals are those of all pixels there.
    uncertainty : Uncertainty
        Its `covariance_iid` is that of the plain fit.
    noise : NoiseModel
    structure : tuple of Check
        Whether the residuals have a structure that noise has not.
    blocks : int
        Block means of all angles.
    drift : list of float
        Relative change of c2 over the series that was taken out, for each angle; 0 where it was not looked for.
    """

    fit: Refinement
    uncertainty: Uncertainty
    noise: NoiseModel
    structure: tuple[Check, ...]
    blocks: int
    drift: list[float]


def weigh(
    reduced: ReducedPasses,
    passes: DataPasses,
    problem: Problem,
    plain: Refinement,
    uncertainty: Uncertainty,
    noise: NoiseModel | None,
) -> Weighted | str:
    """Weighted fit from the optimum of ordinary least squares, or the reason why that stands.

    Parameters
    ----------
    reduced : ReducedPasses
        Block means of the data.
    passes : DataPasses
        The data; one pass tells what the weighted estimates leave of them.
    problem : Problem
    plain : Refinement
        Ordinary least squares.
    uncertainty : Uncertainty
        Of the same.
    noise : NoiseModel or None
        What the residuals near there say about the noise.
    """
    if plain.status != "converged" or plain.robust:
        return NOT_CONVERGED
    if noise is None:
        return NO_NOISE
    if noise.at_noise_level and not noise.sees_speckles:
        return NO_SPECKLES
    series, free = reduced.series, problem.free
    coordinates = make_coordinates(problem, series.time, series.q)
    excess = noise.excess.largest
    for drift in (False, True) if noise.at_noise_level else (True,):
        try:
            likely, gathered = most_likely(
                reduced,
                coordinates,
                coordinates.encode(plain.values),
                steps=STEPS,
                least_rise=LEAST_RISE,
                drift=drift,
                photons=None if drift else noise.photons,
            )
        except (FitError, np.linalg.LinAlgError):
            return NO_NOISE
        structure = structure_of(gathered, likely.noise)
        if _is_noise(likely.noise, structure):
            break
        excess = min(excess, likely.noise.excess.largest)
    else:
        return UNLIKE.format(excess=excess)
    values = coordinates.decode(likely.position)
    # A drift biases plain estimates.
    if not drift and strayed(plain, values, uncertainty.stderr):
        return ASTRAY
    drifts = [angle.drift for angle in gathered.angles]
    information = weighted_sums(gathered, likely.noise, np.eye(len(free))).information
    unit = natural_units(values, series)[list(free)]
    covariance = inverse_without_null(information, unit)
    if not drift and _gain(uncertainty, covariance) < LEAST_GAIN:
        return LITTLE
    result = project(passes(values, ()))
    lower, upper = problem.bounds()
    fit = replace(
        plain,
        values=values,
        at_bound=bound_flags(values[list(free)], lower, upper),
        chi_squared=float(problem.sigma**-2.0 @ result.sum_squares),
        angles=angle_fits(series, problem, result),
    )
    return Weighted(
        fit=fit,
        uncertainty=Uncertainty(
            kind="speckle",
            reason=DRIFT.format(percent=100.0 * max(map(abs, drifts))) if drift else AS_PREDICTED,
            covariance=covariance,
            covariance_iid=uncertainty.covariance_iid,
            identifiability=identify(information, covariance, values, free, series),
            cautions=cautions(values, free, series),
        ),
        noise=likely.noise,
        structure=structure,
        blocks=sum(int(angle.held.sum()) for angle in gathered.angles),
        drift=drifts,
    )


def with_promise(uncertainty: Uncertainty, near: Near | None, free: tuple[int, ...], series: Series) -> Uncertainty:
    """Errors of a plain fit that say how much smaller those of a weighted one would be, if that can be told."""
    if near is None:
        return uncertainty
    noise = near.noise
    if uncertainty.kind != "speckle" or not (_is_noise(noise, near.structure) and noise.sees_speckles):
        return uncertainty
    weighted = inverse_without_null(near.information, natural_units(noise.vector, series)[list(free)])
    gain = _gain(uncertainty, weighted)
    if gain < LEAST_GAIN:
        return uncertainty
    return replace(uncertainty, reason=f"{uncertainty.reason}; {PROMISE.format(gain=gain)}")


def _gain(plain: Uncertainty, weighted: Array) -> float:
    """Errors of a plain fit over those of a weighted one with this covariance (p, p), geometric mean; 1 if unknown."""
    known = plain.identifiability.identified & (np.diagonal(weighted) > 0.0) & (np.diagonal(plain.covariance) > 0.0)
    if not known.any():
        return 1.0
    return float(np.exp(0.5 * np.mean(np.log(np.diagonal(plain.covariance)[known] / np.diagonal(weighted)[known]))))


def _is_noise(noise: NoiseModel, structure: tuple[Check, ...]) -> bool:
    """Whether nothing in the residuals speaks against the covariance that weights them."""
    chance = min((check.p_value for check in structure), default=1.0)
    return noise.at_noise_level and len(structure) * chance > LEAST_CHANCE
