"""Python's stack in one piece, for programs that call deeply: compilers, plotting, imports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

SLOTS: Final = 2**16
"""Of half a MiB: Python takes the next power of two, and what is left over holds more calls than it allows."""


def roomy[F: Callable[..., object]](function: F) -> F:
    """Let all that a function calls share one piece of Python's stack; to be used as a decorator.

    Python takes its stack from the system in pieces of 16 KiB, and gives one back as soon as no call is left in it. A
    loop that calls a function just where a piece ends does so every time: such a call takes 6 µs in place of 0.03, and
    a quarter of the time in which Numba compiled our kernels went there. A frame that fits no such piece gets a larger
    one, which has room for the calls below it; what nobody writes to takes no memory.
    """
    function.__code__ = function.__code__.replace(co_stacksize=SLOTS)
    return function
