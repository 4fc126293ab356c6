"""Strengths of white, speckle and photon noise of the highest likelihood."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from hetdask.data.noise import robust_scatter
from hetdask.fitting.noise_evidence import MOST_ANGLES, Evidence, Gathered, Unabsorbed

Array = NDArray[np.float64]

ROUNDS: Final = 200
"""Of the estimate; it converges to a part in a thousand in a few dozen."""

FEW_ROUNDS: Final = 80
"""From an estimate for nearly the same noise."""

WHITE_DOUBT: Final = 0.01
"""Relative error of the variance between neighbours that is predicted for white noise."""

SPECKLE_DOUBT: Final = 0.1
"""The same for speckle noise, and for all variances that are compared with predictions: the rates are not exact."""

SIGNAL_DOUBT: Final = 0.2
"""The same for the signal's own differences between neighbours."""

FEW_SPECKLES: Final = 3.0
"""The noise of P speckles has a strength of its own in every data set: its variance varies by this over P, squared."""

ERROR_SCALE: Final = 1.5
"""Scatter of estimates in simulations over their standard errors: the components are not quite independent."""

SHARE_DOUBT: Final = 0.05
"""Relative error of 1/P that stays with any number of components; 1/√P comes to it, as of any mean square."""

COUNTING: Final = (-0.2, 0.35)
"""Logarithm of the strength of photon noise over what white noise would mean for it if all of it came from counting,
and its standard deviation: other white noise, and pixels smaller than a speckle, make it less."""

COUNTING_RANGE: Final = (0.2, 6.0)
"""Of the strength of photon noise, relative to that of counting as it is estimated without photon noise."""

LEAST_PHOTON_NOISE: Final = 1e-3
"""Variance of the photon noise of one speckle; less is not looked for."""

PHOTON_PRECISION: Final = 0.1
"""Relative, of the strength of photon noise."""

PHOTON_RISE: Final = 1.0
"""Log-likelihood that photon noise must gain to be believed."""

ROUNDING: Final = 3e-8
"""Of float32: there is no less noise."""


def find_photons(gathered: Gathered, group: NDArray[np.int64]) -> Array:
    """Photons (n_phi,) of a speckle in a frame of the highest likelihood, the same for angles of one group.

    Counting leaves white noise too, which says nearly how strong photon noise is.
    """
    photons = np.full(group.size, np.inf)
    for k in range(group.max() + 1):
        members = np.flatnonzero(group == k)
        some = members[:: -(-members.size // MOST_ANGLES)]
        photons[members] = _photons_of([gathered.without_fit(m) for m in some.tolist()], gathered)
    return photons


def _photons_of(angles: list[Unabsorbed], gathered: Gathered) -> float:
    """Photons of the speckles of some angles of one group; infinite where their noise is not seen."""
    none = _with_photon_noise(angles, gathered.deviates, 0.0)
    if none.share[0] < 2.0 * none.errors()[1][0]:
        return np.inf  # without speckle noise there is none to tell photon noise from
    offset = np.array([angle.offset for angle in none.angles]) * gathered.excess

    def counting(found: Estimate) -> float:
        """Photon noise of a speckle if all white noise comes from counting."""
        return float(np.median(np.sqrt(found.white / found.share[0]) / offset))

    def loss(log_ratio: float) -> float:
        found = _with_photon_noise(angles, gathered.deviates, float(np.exp(log_ratio)), none)
        off = (log_ratio - np.log(counting(found)) - COUNTING[0]) / COUNTING[1]
        return none.log_likelihood - found.log_likelihood + 0.5 * float(off) ** 2

    usual = counting(none)
    if usual < LEAST_PHOTON_NOISE:
        return np.inf
    found = minimize_scalar(
        loss, bounds=np.log(usual * np.array(COUNTING_RANGE)), method="bounded", options={"xatol": PHOTON_PRECISION}
    )
    return float(np.exp(-found.x)) if found.fun < -PHOTON_RISE else np.inf


def _with_photon_noise(
    angles: list[Unabsorbed], deviates: Array, ratio: float, start: Estimate | None = None
) -> Estimate:
    """Estimate for angles of one group whose speckles have 1/`ratio` photons in a frame, perhaps from another one."""
    photons = 1.0 / ratio if ratio > 0.0 else np.inf
    group = np.zeros(len(angles), dtype=np.int64)
    return Estimate([angle.evidence(photons) for angle in angles], deviates, group, start)


class Estimate:
    """White variance `white` (n_phi,) and inverse speckle number `share` (n_groups,) of highest likelihood.

    Multiplicative updates that raise the likelihood of variance components in every round and keep them positive
    (H. Zhou et al., J. Comput. Graph. Stat. 28, 350 (2019), doi:10.1080/10618600.2018.1529601).
    """

    def __init__(
        self,
        angles: list[Evidence],
        deviates: Array,
        group: NDArray[np.int64],
        start: Estimate | None = None,
    ) -> None:
        self.angles = angles
        self.group = group
        self._deviates = deviates
        floor = np.array([(ROUNDING * angle.offset) ** 2 for angle in angles])
        measured = np.array([angle.scatter for angle in angles])
        self._known = np.isfinite(measured)
        level = np.array([float(np.mean(angle.components**2)) for angle in angles])
        self._measured = np.maximum(np.where(self._known, measured, level), floor)
        if start is None:
            self.white = 0.5 * self._measured
            self.share = np.array(
                [
                    0.5 * np.median([self._measured[m] / angles[m].pixel for m in np.flatnonzero(group == k)])
                    for k in range(group.max() + 1)
                ]
            ).clip(1e-9, 0.5)
        else:
            before, now = (sum(float(np.sum(angle.predicted)) for angle in x) for x in (start.angles, angles))
            self.white, self.share = start.white.copy(), start.share * before / now
        for done in range(ROUNDS if start is None else FEW_ROUNDS):
            if done % 10 == 0:
                self._look_at_neighbours()
            self._update(floor)

    def _look_at_neighbours(self) -> None:
        """Predict the robust scatter of neighbours, which is no mean, and weight it by the doubts about that."""
        share = self.share[self.group]
        speckle, measured, signal = (np.zeros(len(self.angles)) for _ in range(3))
        for m, angle in enumerate(self.angles):
            noise = np.sqrt(self.white[m] + angle.neighbours * share[m]) * self._deviates
            quiet = robust_scatter(noise) ** 2
            extra = max(robust_scatter(noise + angle.signal) ** 2 - quiet, 0.0)
            speckle[m] = max(quiet - self.white[m], 0.0) / share[m]
            measured[m] = max(self._measured[m] - extra, 0.05 * self._measured[m])
            signal[m] = extra / measured[m]
        self.neighbours, self.measured = speckle, measured
        self.speckle_part = speckle * share / (speckle * share + self.white)
        doubt = SPECKLE_DOUBT**2 + FEW_SPECKLES * share
        self.doubt = np.sqrt(WHITE_DOUBT**2 + doubt * self.speckle_part**2 + (SIGNAL_DOUBT * signal) ** 2)
        self._weight = np.where(self._known, 2.0 / self.doubt**2, 0.0)

    def _update(self, floor: Array) -> None:
        share = self.share[self.group]
        up, down = np.zeros_like(self.share), np.zeros_like(self.share)
        for m, angle in enumerate(self.angles):
            inverse = 1.0 / (angle.predicted * share[m] + self.white[m])
            pull = (angle.components * inverse) ** 2
            near = 1.0 / (self.neighbours[m] * share[m] + self.white[m])
            weight, near_pull = self._weight[m], self.measured[m] * near**2
            k = self.group[m]
            up[k] += angle.predicted @ pull + weight * self.neighbours[m] * near_pull
            down[k] += angle.predicted @ inverse + weight * self.neighbours[m] * near
            ratio = (np.sum(pull) + weight * near_pull) / (np.sum(inverse) + weight * near)
            self.white[m] = max(self.white[m] * np.sqrt(ratio), floor[m])
        self.share = np.maximum(self.share * np.sqrt(up / np.maximum(down, 1e-300)), 1e-12)

    @property
    def log_likelihood(self) -> float:
        """Restricted likelihood of the components."""
        return -0.5 * sum(
            float(np.sum(np.log(variance) + angle.components**2 / variance))
            for angle, variance in zip(self.angles, self.variances(), strict=True)
        )

    def variances(self) -> list[Array]:
        """Of the components of each angle."""
        share = self.share[self.group]
        return [angle.predicted * share[m] + self.white[m] for m, angle in enumerate(self.angles)]

    def errors(self) -> tuple[Array, Array]:
        """Standard errors of `white` and `share`, from the Fisher information and how well predictions hold."""
        n = len(self.angles)
        information = np.zeros((n + self.share.size,) * 2)
        share = self.share[self.group]
        for m, (angle, variance) in enumerate(zip(self.angles, self.variances(), strict=True)):
            near = self.neighbours[m] * share[m] + self.white[m]
            slopes = np.stack([1.0 / variance, angle.predicted / variance])
            local = np.array([1.0, self.neighbours[m]]) / near
            places = np.ix_((m, n + self.group[m]), (m, n + self.group[m]))
            information[places] += 0.5 * (slopes @ slopes.T + self._weight[m] * np.outer(local, local))
        scale = 1.0 / np.sqrt(np.maximum(np.diag(information), np.finfo(np.float64).tiny))
        inverse = np.linalg.pinv(information * np.outer(scale, scale), hermitian=True)
        error = ERROR_SCALE * np.sqrt(np.diag(inverse)) * scale
        few = SHARE_DOUBT**2 + self.share
        return np.hypot(error[:n], WHITE_DOUBT * self.white), np.hypot(error[n:], np.sqrt(few) * self.share)
