"""Units of q and phi as files spell them."""

from __future__ import annotations

import math
import re
from typing import Final, Literal

from hetdask.errors import DataError

INVERSE_ANGSTROM: Final = frozenset({"1/a", "1/å", "a-1", "å-1", "1/angstrom", "angstrom-1", "1/ang", "ang-1"})
INVERSE_NANOMETRE: Final = frozenset({"1/nm", "nm-1", "1/nanometer", "1/nanometre"})
DEGREES: Final = frozenset({"deg", "degree", "degrees", "°"})
RADIANS: Final = frozenset({"rad", "radian", "radians"})

TYPOGRAPHY: Final = str.maketrans({"⁻": "-", "−": "-", "¹": "1"})
"""Different characters that mean the same."""


def conversion(path: str, quantity: Literal["q", "phi"], unit: str, notes: list[str]) -> float:
    """What values in a unit are multiplied by to be in 1/Å or degrees.

    Parameters
    ----------
    path : str
        File and place of the unit, for the message.
    quantity : {"q", "phi"}
    unit : str
    notes : list of str
        A conversion is noted here.

    Raises
    ------
    DataError
        For a unit that is not known.

    Examples
    --------
    >>> conversion("scan.hdf", "q", "Å⁻¹", []), conversion("scan.hdf", "q", "nm^-1", [])
    (1.0, 0.1)
    """
    plain = re.sub(r"[\s^()\\{}$]|\*\*", "", unit.lower().translate(TYPOGRAPHY))
    if plain in (INVERSE_ANGSTROM if quantity == "q" else DEGREES):
        return 1.0
    if quantity == "q" and plain in INVERSE_NANOMETRE:
        notes.append("q is in 1/nm in the file and was converted to 1/Å")
        return 0.1
    if quantity == "phi" and plain in RADIANS:
        notes.append("phi is in radians in the file and was converted to degrees")
        return math.degrees(1.0)
    wanted = "1/Å or 1/nm" if quantity == "q" else "deg or rad"
    raise DataError(
        f"{path}: {quantity} is in {unit!r}, expected {wanted}: write the maps as .npy and give phi, q and dt"
    )
