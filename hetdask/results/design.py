"""What a planned experiment would determine: as an object, as JSON and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field
from rich.console import Group
from rich.text import Text

from hetdask.config import Settings, load_settings
from hetdask.errors import ConfigError
from hetdask.fitting.design import design as errors_of
from hetdask.model.parameters import NAMES, SPECS, as_vector
from hetdask.passes.tiles import Series
from hetdask.results.formatting import format_measurement, format_number, sentence
from hetdask.results.part import Part, finite
from hetdask.results.tables import add_row, new_table
from hetdask_cluster.runner import InlineRunner

if TYPE_CHECKING:
    from rich.console import RenderableType

HEADS: Final = ("parameter", "value", "± error", "± weighted", "gain", "unit")
TILE: Final = 512


class DesignedParameter(Part):
    """One free parameter of a planned experiment."""

    value: float = Field(description="True value that was assumed.")
    unit: str
    identified: bool = Field(description="Whether such data determine it.")
    stderr: float | None = Field(description="Standard error with plain weights; null where it is not determined.")
    stderr_weighted: float | None = Field(description="The same with fit.weights: speckle.")


class DesignResult(Part):
    """Errors of a planned experiment.

    Attributes
    ----------
    parameters : dict of str to DesignedParameter
        The free ones.
    weak : list of str
        What such data leave open, in words.
    notes : list of str
        What else to know.
    """

    parameters: dict[str, DesignedParameter]
    weak: list[str]
    notes: list[str]

    def __rich__(self) -> RenderableType:
        """Table and notes."""
        table = new_table("Errors of the planned experiment")
        for name in HEADS:
            table.add_column(name, justify="left" if name in {"parameter", "unit"} else "right", no_wrap=True)
        table.add_column("note")
        for name, one in self.parameters.items():
            add_row(table, _cells(name, one), False, not one.identified)
        lines = [Text(sentence(line), style="yellow") for line in self.weak]
        return Group(table, *lines, *(Text(sentence(line), style="dim") for line in self.notes))


def _cells(name: str, one: DesignedParameter) -> Iterator[str]:
    gain = one.stderr / one.stderr_weighted if one.stderr and one.stderr_weighted else None
    yield name
    yield from format_measurement(one.value, one.stderr)
    yield format_number(one.stderr_weighted, 2)
    yield format_number(gain, 2)
    yield one.unit
    yield "" if one.identified else "would not be determined"


def design(config: Settings | Mapping[str, Any] | str | Path) -> DesignResult:
    """Errors that a fit of a planned experiment would have.

    The noise is that of speckles, and of photons where they are counted: that of `hetdask simulate --noise speckle`.

    Parameters
    ----------
    config : Settings, mapping, str or Path
        Settings with a section `simulation`; free are the parameters that a fit would move.

    Raises
    ------
    ConfigError
        If the settings describe no experiment, one that diverges, or nothing to fit.

    Examples
    --------
    >>> plan = {"frames": 100, "dt": 0.4, "phi": [0, 45, 90], "speckles": 5000}
    >>> found = design({"simulation": plan, "fit": {"active_parameters": ["D0_ref", "D0_sample", "v0", "f0"]}})
    >>> found.parameters["v0"].identified
    True
    """
    settings = config if isinstance(config, Settings) else load_settings(config)
    plan = settings.experiment()
    vector = as_vector(settings.true_values())
    free = tuple(k for k, row in enumerate(settings.parameter_table()) if not row.fixed)
    if not free:
        raise ConfigError("all parameters are fixed: free at least one, for example active_parameters: [v0]")
    phi, q, time = plan.axes()
    series = Series(phi, q, time, np.zeros((phi.size, time.size), dtype=np.bool_), np.ones(phi.size), TILE)
    found = errors_of(
        series,
        vector,
        free,
        InlineRunner(),
        speckles=plan.speckles,
        modes=plan.modes,
        photons=plan.photons,
        seed=plan.seed,
    )
    notes = list(found.cautions)
    return DesignResult(
        parameters={
            NAMES[k]: DesignedParameter(
                value=float(vector[k]),
                unit=SPECS[NAMES[k]].unit,
                identified=found.identifiability.identified[place],
                stderr=finite(found.plain[place]),
                stderr_weighted=finite(found.weighted[place]),
            )
            for place, k in enumerate(free)
        },
        weak=[weak.text for weak in found.identifiability.weak],
        notes=notes,
    )
