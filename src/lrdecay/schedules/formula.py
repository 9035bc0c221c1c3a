"""Formulas of one variable, as people write them: parsed, and never run as Python."""

import ast
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrdecay.errors import BadValue
from lrdecay.text import shortened

Value = Any  # a float64 or an array of them; numpy types its functions less exactly

MOST_LETTERS = 500  # more would be nested deeper than Python's parser goes
MOST_NESTED = 200  # operations within each other, as in a sum of as many terms: more would exhaust Python's stack
CONSTANTS = {"pi": np.float64(np.pi), "e": np.float64(np.e)}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": np.abs,
    "cos": np.cos,
    "exp": np.exp,
    "floor": np.floor,
    "log": np.log,
    "max": np.maximum,
    "min": np.minimum,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "tanh": np.tanh,
}
OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Mod: np.mod,
    ast.Pow: np.power,
    ast.UAdd: np.positive,
    ast.USub: np.negative,
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
ALLOWED = (
    f"a formula of {{variable}} with numbers, + - * / % **, {', '.join([*CONSTANTS, *FUNCTIONS])}, "
    "and `a if p < 0.5 else b`"
)


class Formula:
    """A formula of one variable, for arrays.

    Numbers are float64 from the start, so that a tower of powers overflows instead of filling the memory.

    >>> Formula("(1 - p)**2 if p < 0.5 else 0.25", "p")(np.array([0, 0.25, 0.75])).tolist()
    [1.0, 0.5625, 0.25]

    Args:
        text: of it; names, calls and operators but those listed here are refused, so it can do no more than compute.
        variable: what it is a formula of.

    Raises:
        BadValue: it is not a formula; the part that is refused is quoted.
    """

    def __init__(self, text: str, variable: str) -> None:
        self.text, self.variable = text, variable
        if not isinstance(text, str) or len(text) > MOST_LETTERS:
            raise BadValue(self._refusal(text))
        try:
            self._node = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
            raise BadValue(self._refusal(text)) from error
        if _depth(self._node) > MOST_NESTED:
            raise BadValue(f"{shortened(self.text)}: must be nested at most {MOST_NESTED} deep")
        self(np.zeros(1))

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The formula's values, of the shape of `values`; not a number where it has none."""
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(self._value(self._node, values), dtype=np.float64), values.shape)

    def _value(self, node: ast.AST, values: NDArray[np.float64]) -> Value:
        def of(part: ast.AST) -> Value:
            return self._value(part, values)

        match node:
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool) and number < 1e300:
                return np.float64(number)
            case ast.Name(id=name) if name == self.variable or name in CONSTANTS:
                return values if name == self.variable else CONSTANTS[name]
            case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
                return OPERATORS[type(op)](of(left), of(right))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
                return OPERATORS[type(op)](of(operand))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if len(args) == _arguments(name):
                return FUNCTIONS[name](*map(of, args))
            case ast.IfExp(test=ast.Compare(left=left, ops=[op], comparators=[right]), body=body, orelse=other) if (
                type(op) in OPERATORS
            ):
                return np.where(OPERATORS[type(op)](of(left), of(right)), of(body), of(other))
        raise BadValue(self._refusal(ast.unparse(node)))

    def _refusal(self, text: object) -> str:
        return f"{shortened(' '.join(str(text).split()))}: must be {ALLOWED.format(variable=self.variable)}"


def _depth(node: ast.AST) -> int:
    depth, level = 0, [node]
    while level:
        depth, level = depth + 1, [child for parent in level for child in ast.iter_child_nodes(parent)]
    return depth


def _arguments(name: str) -> int:
    """How many arguments the function takes; −1 for what is not a function."""
    function = FUNCTIONS.get(name)
    return function.nin if isinstance(function, np.ufunc) else -1
