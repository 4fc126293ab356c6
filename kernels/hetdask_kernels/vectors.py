"""Vectors of float64 in registers, for kernels that the compiler does not vectorise well by itself.

In a kernel these functions, and sums, differences and products of what they give with each other or with a float,
become single instructions. Where nothing is compiled vectors are NumPy arrays.

Numba calls this its low-level extension interface: https://numba.readthedocs.io/en/stable/extending/low-level.html.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, models, register_model, type_callable
from numpy.typing import NDArray

from hetdask_kernels._jit import REORDER

Array = NDArray[np.float64]

_PLACE = ir.IntType(32)


class Vector(types.Type):
    """Numba's type of some float64 side by side."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.register = ir.VectorType(ir.DoubleType(), width)
        super().__init__(name=f"Vector({width})")


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Vector) -> None:
        super().__init__(manager, kind, kind.register)


_PAIR, _QUAD, _OCTET = Vector(2), Vector(4), Vector(8)


def pair(first: float, second: float) -> Array:
    """Two numbers as a vector."""
    return np.array([first, second])


def first_of(two: Array) -> Any:
    """The first number of a pair."""
    return two[0]


def second_of(two: Array) -> Any:
    """The second number of a pair."""
    return two[1]


def load_quad(values: Array, begin: int) -> Array:
    """Four numbers of a contiguous array (n,)."""
    return values[begin : begin + 4].copy()


def load_octet(values: Array, begin: int) -> Array:
    """Eight numbers of a contiguous array (n,)."""
    return values[begin : begin + 8].copy()


def store(vector: Array, values: Array, begin: int) -> None:
    """Write a vector to a contiguous array (n,)."""
    values[begin : begin + vector.size] = vector


def _both(one: Any, other: Any) -> Any:
    """The type of a sum, difference or product."""
    for vector, value in ((one, other), (other, one)):
        if isinstance(vector, Vector) and (value == vector or isinstance(value, types.Float)):
            return vector
    return None


def _arithmetic(instruction: Any) -> Any:
    def fill(builder: Any, value: Any, vector: Any) -> Any:
        if value.type == vector.register:
            return value
        nothing = ir.Constant(vector.register, ir.Undefined)
        one = builder.insert_element(nothing, value, _PLACE(0))
        return builder.shuffle_vector(one, nothing, ir.Constant(ir.VectorType(_PLACE, vector.width), None))

    def lower(_context: Any, builder: Any, sig: Any, one: Any, other: Any) -> Any:
        one, other = fill(builder, one, sig.return_type), fill(builder, other, sig.return_type)
        return getattr(builder, instruction)(one, other, flags=tuple(REORDER))

    return lower


def _is_flat(values: types.Type) -> bool:
    return isinstance(values, types.Array) and (values.ndim, values.layout, values.dtype) == (1, "C", types.float64)


def _address(context: Any, builder: Any, kind: Any, values: Any, begin: Any, vector: Any) -> Any:
    data = context.make_array(kind)(context, builder, values).data
    return builder.bitcast(builder.gep(data, [begin]), vector.register.as_pointer())


def _lower_load(context: Any, builder: Any, sig: Any, values: Any, begin: Any) -> Any:
    return builder.load(_address(context, builder, sig.args[0], values, begin, sig.return_type), align=8)


def _lower_store(context: Any, builder: Any, sig: Any, vector: Any, values: Any, begin: Any) -> Any:
    builder.store(vector, _address(context, builder, sig.args[1], values, begin, sig.args[0]), align=8)
    return context.get_dummy_value()


def _lower_pair(_context: Any, builder: Any, sig: Any, first: Any, second: Any) -> Any:
    nothing = ir.Constant(sig.return_type.register, ir.Undefined)
    return builder.insert_element(builder.insert_element(nothing, first, _PLACE(0)), second, _PLACE(1))


def _part(place: Any) -> Any:
    return lambda _context, builder, _sig, vector: builder.extract_element(vector, _PLACE(place))


def _define(function: Any, typer: Any, lower: Any, *kinds: Any) -> None:
    """Tell Numba what a function gives, and which instructions it stands for with arguments of each of these kinds."""
    type_callable(function)(lambda _context: typer)
    for kind in kinds:
        lower_builtin(function, *kind)(lambda context, builder, sig, args: lower(context, builder, sig, *args))


for _operation, _instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul")):
    _kinds = (Vector, Vector), (Vector, types.Float), (types.Float, Vector)
    _define(_operation, _both, _arithmetic(_instruction), *_kinds)
_define(load_quad, lambda values, _: _QUAD if _is_flat(values) else None, _lower_load, (types.Array, types.Integer))
_define(load_octet, lambda values, _: _OCTET if _is_flat(values) else None, _lower_load, (types.Array, types.Integer))
_define(
    store, lambda _, values, __: types.void if _is_flat(values) else None, _lower_store,
    (Vector, types.Array, types.Integer),
)  # fmt: skip
_define(pair, lambda _, __: _PAIR, _lower_pair, (types.Float, types.Float))
_define(first_of, lambda _: types.float64, _part(0), (Vector,))
_define(second_of, lambda _: types.float64, _part(1), (Vector,))
