"""The two-component heterodyne model: parameters, exact integrals, correlation, simulation.

Pure NumPy, no I/O. Everything here is the reference against which the fast kernels are tested.
"""

from hetdask.model.correlation import correlation, correlation_gradient
from hetdask.model.dynamics import Dynamics, dynamics
from hetdask.model.parameters import NAMES, PARAMETERS, SPECS, ParameterSpec, as_vector
from hetdask.model.simulation import ThirdComponent, simulate_gaussian, simulate_speckle

__all__ = [
    "NAMES",
    "PARAMETERS",
    "SPECS",
    "Dynamics",
    "ParameterSpec",
    "ThirdComponent",
    "as_vector",
    "correlation",
    "correlation_gradient",
    "dynamics",
    "simulate_gaussian",
    "simulate_speckle",
]
