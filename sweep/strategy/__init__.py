"""What a strategy file imports, how such a file is loaded, and the space that it declares.

A strategy file writes ``from sweep.strategy import Space, integer, real``. Compiling what is
loaded is `sweep.kernel`; proving things of it is `sweep.backtest.strategy_checks`.
"""

from __future__ import annotations

from sweep.strategy.declare import AccountState, Space, Strategy, load_strategy
from sweep.strategy.parameters import Parameter, boolean, categorical, integer, real

__all__ = [
    "AccountState",
    "Parameter",
    "Space",
    "Strategy",
    "boolean",
    "categorical",
    "integer",
    "load_strategy",
    "real",
]
