"""The sections of report.html, in their order: what each shows, as text and images for its template.

A section is a function from the `Page` to the fields of ``templates/sections/<name>.html.j2``; one that has nothing to
show returns None and is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hetdask.results.sections import numbers, pictures
from hetdask.results.sections.page import Fields, Page

__all__ = ["SECTIONS", "Fields", "Page", "Section"]


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the page.

    Attributes
    ----------
    name : str
        Of its template, and its anchor on the page.
    title : str
        Heading.
    fields : callable
        From the page to the variables of the template; None leaves the section out.
    """

    name: str
    title: str
    fields: Callable[[Page], Fields | None]


SECTIONS: Final = (
    Section("parameters", "Parameters", numbers.parameters),
    Section("weights", "Weights", numbers.weights),
    Section("refits", "Errors by refits", pictures.refits),
    Section("goodness", "Goodness of fit", numbers.goodness),
    Section("dynamics", "Dynamics", pictures.dynamics),
    Section("maps", "Maps", pictures.maps),
    Section("details", "Maps in detail", pictures.details),
    Section("identifiability", "What the data determine", numbers.identifiability),
    Section("convergence", "Convergence", pictures.convergence),
    Section("run", "Time and memory", numbers.run),
    Section("provenance", "Provenance", numbers.provenance),
)
