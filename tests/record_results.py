"""Hashes of what six small studies give, piece by piece, for `test_recorded_results`.

Run by name to record them again, once a change of results is meant::

    python tests/record_results.py

Sweep is reached as users reach it, so that no change within the package touches this file.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import random
import runpy
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parent / "data" / "recorded_results.json"

#: Keys of JSON, and columns of CSV, that tell of the clock, the machine, versions or places.
LEFT_OUT = frozenset(
    {
        "compute",  # how many workers
        "fitting_seconds",
        "in_use",  # by a process of this machine
        "key",  # in the store: of the source's path and its time
        "path",  # in the store
        "seconds",
        "size_bytes",  # of an entry with its paths
        "text",  # of `sweep check`: nanoseconds a tick
        "used",  # when
        "versions",
    }
)


@dataclass(frozen=True)
class Piece:
    """A table or a document: how large it is, and its hash.

    Attributes
    ----------
    rows : int
        Of a table; of a document its values that hold no others.
    hash : str
    """

    rows: int
    hash: str


# -- the studies -----------------------------------------------------------------------

#: Averages of the mid price, exponential ones in the state or plain ones as features.
EXPONENTIAL = """
from typing import NamedTuple
from sweep.strategy import Space, boolean, real


class Params(Space):
    fast: float = real(10, 5000, log=True, default=50)
    slow: float = real(50, 5000, log=True, default=300)
    short: bool = boolean(default=True)

    def valid(self):
        return self.fast < self.slow


class State(NamedTuple):
    fast: float
    slow: float


def warmup(params):
    return int(params.slow)


def start(tick):
    return State(tick.mid, tick.mid)


def step(state, tick, params):
    fast = state.fast + 2.0 / (params.fast + 1.0) * (tick.mid - state.fast)
    slow = state.slow + 2.0 / (params.slow + 1.0) * (tick.mid - state.slow)
    target = 1.0 if fast > slow else (-1.0 if params.short else 0.0)
    return State(fast, slow), target
"""
PLAIN = """
from typing import NamedTuple
import numpy as np
from sweep.features import rolling_mean
from sweep.strategy import Space, boolean, integer


class Params(Space):
    fast: int = integer(10, 5000, log=True, default=50)
    slow: int = integer(50, 5000, log=True, default=300)
    short: bool = boolean(default=True)

    def valid(self):
        return self.fast < self.slow


class Features(NamedTuple):
    fast: np.ndarray
    slow: np.ndarray


class State(NamedTuple):
    target: float


def features(ticks, params):
    return Features(rolling_mean(ticks.mid, params.fast), rolling_mean(ticks.mid, params.slow))


def lookback(params):
    return max(params.fast, params.slow)


def warmup(params):
    return params.slow


def start(tick, params):
    return State(0.0)


def step(state, tick, params, features):
    target = 1.0 if features.fast > features.slow else (-1.0 if params.short else 0.0)
    return State(target), target
"""

STUDY = """
[study]
name = "{name}"
strategy = "strategy.py"
trials = {trials}
sampler = {sampler}
objective = "{objective}"
constraints = ["trades >= 5"]
seed = 1
top = 4
{study}

[data]
{data}
holdout = 0.25

[space]
fast = "{fast}"
slow = "{slow}"

[costs]
commission_rate = 2e-5
slippage = 0.0

[account]
capital = 100.0
clock = "1h"
periods_per_year = 2016

{rest}
"""

FILE = 'source = "ticks.csv"'
PLANTED = (
    'source = "synth"\nsynth = { sessions = 48, ticks_per_session = 500, seed = 1, '
    'effect = "momentum", effect_size = 1.5 }'
)
SMALL = {
    "strategy": EXPONENTIAL,
    "trials": 30,
    "sampler": '"tpe"',
    "objective": "sharpe",
    "study": "",
    "data": PLANTED,
    "fast": "20:500:log",
    "slow": "100:2000:log",
    "rest": "",
}
GRID = {
    "trials": 60,
    "sampler": '"grid"',
    "data": FILE,
    "fast": "20:220:40",
    "slow": "100:900:200",
}
#: What each changes in `SMALL`.
STUDIES: dict[str, dict[str, Any]] = {
    "grid": GRID,
    "tpe": {},
    "pruned": {
        "study": 'pruner = { name = "median", n_startup_trials = 5 }',
        "data": f"{PLANTED}\nslices = 6",
    },
    "robust": {
        "trials": 20,
        "objective": "quantile(net_profit, 0.25)",
        "rest": '[monte_carlo]\nmethod = "sessions"\npaths = 12',
    },
    "stream": {
        **GRID,
        "strategy": PLAIN,
        "data": f'{FILE}\nstore = "stream"',
    },
    "walk_forward": {"trials": 16, "rest": "[validate]\nfolds = 3"},
}


#: A market in a file, and how many ticks its trends last on average.
SESSIONS, TICKS, TREND = 48, 500, 400


#: Methods of `sweep mc`, by study; of some, all paths are written too.
METHODS = {
    "grid": (
        "pnl",
        "trades",
        "permutation",
        "shift",
        "random-entry",
        "neighbourhood",
        "stress",
        "sessions",
        "slots",
        "stationary",
        "circular",
        "moving",
    ),
    "tpe": ("gbm", "merton"),
    "robust": ("sessions",),
}
PATHS_WRITTEN = ("pnl", "neighbourhood", "stress", "sessions")


def write_ticks(path: Path) -> None:
    """Write a market made of whole numbers: the same ticks on every machine."""
    draw = random.Random(1).getrandbits
    price, drift = 10_000, 1
    with path.open("w", encoding="ascii") as out:
        out.write("ts,bid,ask\n")
        for session in range(SESSIONS):
            days = session + session // 5 * 2  # from a Monday on, without weekends
            ts = 1_704_067_200_000 + days * 86_400_000 + 8 * 3_600_000
            for _ in range(TICKS):
                ts += 1 + draw(15) * 8 * 3_600_000 // TICKS // 2**14
                if draw(20) < 2**20 // TREND:
                    drift = -drift
                price += draw(2) - draw(2) + (drift if draw(4) == 0 else 0)
                half = 1 + (draw(3) == 0)
                bid, ask = price - half, price + half
                out.write(f"{ts},{bid // 100}.{bid % 100:02},{ask // 100}.{ask % 100:02}\n")


# -- asking Sweep ----------------------------------------------------------------------


def ask(*arguments: object) -> str:
    """Return what a command line writes to stdout."""
    out, err = io.StringIO(), io.StringIO()
    known = sys.argv
    sys.argv = ["sweep", *map(str, arguments)]
    try:
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            warnings.catch_warnings(),
        ):
            runpy.run_module("sweep", run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{' '.join(sys.argv)}: {err.getvalue()}") from None
    finally:
        sys.argv = known
    return out.getvalue()


def pieces_of(name: str, folder: Path, workers: int | None = None) -> dict[str, Piece]:
    """Run one of the studies and return all that it gives.

    Parameters
    ----------
    name : str
        One of `STUDIES`.
    folder : Path
        An empty one, for all files.
    workers : int, optional
        In how many processes; in this one by default.

    Returns
    -------
    dict of str to Piece
    """
    settings = SMALL | STUDIES[name]
    if FILE in settings["data"]:
        write_ticks(folder / "ticks.csv")
    (folder / "strategy.py").write_text(settings["strategy"], encoding="utf-8")
    (folder / "study.toml").write_text(STUDY.format(name=name, **settings), encoding="utf-8")
    compute = ["compute.engine=serial"] if workers is None else [f"compute.workers={workers}"]
    return {
        **_tables(folder, compute),
        **{title: _piece(text, folder) for title, text in _texts(name, folder)},
    }


def _tables(folder: Path, overrides: Sequence[str]) -> dict[str, Piece]:
    """Run the study and return what Python is told of it."""
    import sweep

    study = sweep.create_study(folder / "study.toml", out=folder / "out", overrides=overrides)
    sweep.run(study)
    study = sweep.open_study(folder / "out")
    trials = study.trials()
    found = study.session_returns()
    returns = [found.edges.tolist(), found.numbers.tolist(), *found.returns.tolist()]
    columns = [[name, *_exact(trials[name].tolist())] for name in trials.columns]
    return {
        "Study.trials": Piece(len(trials), _hash(columns)),
        "Study.session_returns": Piece(found.n_sessions, _hash([_exact(r) for r in returns])),
        "Study.best": Piece(len(study.best()), _hash(study.best())),
    }


def _texts(name: str, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what commands write of a study that has run."""
    study = folder / "out"
    for command in ("show", "trials", "best"):
        yield from _in_both(command, study)
    yield from _in_both("replay", "--study", study)
    yield from _files("replay", folder, "trades", "equity", "fills")
    walks = name in ("grid", "walk_forward")
    validate = (study, "--bootstraps", 100, *(() if walks else ("--no-walk-forward",)))
    yield from _in_both("validate", *validate)
    if walks:
        yield from _in_both("validate --show-splits", study)
        ask("validate", *validate, "--csv", folder / "settings.csv")
        yield "validate --csv", (folder / "settings.csv").read_text(encoding="utf-8")
    for method in METHODS.get(name, ()):
        mc = ("-m", method, "--study", study, "--paths", 16, "--replicates", 2)
        yield f"mc -m {method} -f json", ask("mc", *mc, "-f", "json")
        if method in PATHS_WRITTEN:
            yield f"mc -m {method} -f csv", ask("mc", *mc, "-f", "csv")
            ask("mc", *mc, "--csv", folder / f"{method}.csv")
            yield f"mc -m {method} --csv", (folder / f"{method}.csv").read_text(encoding="utf-8")
    if name == "grid":
        yield from _in_both("check", folder / "strategy.py")
        with _own_store(folder / "store"):
            yield from _in_both("data import", folder / "ticks.csv")
            yield from _in_both("data info", folder / "ticks.csv")
            yield from _in_both("data list")


def _in_both(command: str, *arguments: object) -> Iterator[tuple[str, str]]:
    for form in ("json", "csv"):
        yield f"{command} -f {form}", ask(*command.split(), *arguments, "-f", form)


def _files(command: str, folder: Path, *options: str) -> Iterator[tuple[str, str]]:
    files = {option: folder / f"{option}.csv" for option in options}
    given = [word for option, file in files.items() for word in (f"--{option}", file)]
    ask(command, "--study", folder / "out", *given)
    for option, file in files.items():
        yield f"{command} --{option}", file.read_text(encoding="utf-8")


@contextlib.contextmanager
def _own_store(folder: Path) -> Iterator[None]:
    """A store that holds nothing else."""
    known = os.environ.get("SWEEP_CACHE")
    os.environ["SWEEP_CACHE"] = str(folder)
    try:
        yield
    finally:
        if known is None:
            del os.environ["SWEEP_CACHE"]
        else:
            os.environ["SWEEP_CACHE"] = known


# -- hashes ----------------------------------------------------------------------------


def _piece(text: str, folder: Path) -> Piece:
    """Return the size and the hash of JSON or CSV, without what is left out."""
    text = text.replace(str(folder), "FOLDER")
    if text.startswith(("{", "[")):
        document = _kept(json.loads(text))
        return Piece(_leaves(document), _hash(document))
    names, *rows = csv.reader(io.StringIO(text))
    kept = [k for k, name in enumerate(names) if name not in LEFT_OUT]
    return Piece(len(rows), _hash([[row[k] for k in kept] for row in (names, *rows)]))


def _kept(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _kept(v) for key, v in value.items() if key not in LEFT_OUT}
    return [_kept(v) for v in value] if isinstance(value, list) else value


def _leaves(value: Any) -> int:
    if isinstance(value, dict | list):
        return sum(map(_leaves, value.values() if isinstance(value, dict) else value))
    return 1


def _exact(values: list[Any]) -> list[Any]:
    return [v.hex() if isinstance(v, float) else v for v in values]


def _hash(value: Any) -> str:
    # JSON writes floats so that they are read with the same bits.
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]


# -- what was recorded -----------------------------------------------------------------

#: Of these studies, what the commands below give is made by + - * / and square roots from
#: ticks that are the same everywhere. The rest draws random numbers, takes logarithms or asks
#: SciPy and Optuna: its last bits are those of library and processor.
_EXACT_STUDIES = ("grid", "stream")
_EXACT_PIECES = ("Study.", "show", "trials", "best", "replay", "data", "check")


def is_exact(name: str, title: str) -> bool:
    """Whether a piece of a study is the same in every environment."""
    return name in _EXACT_STUDIES and title.startswith(_EXACT_PIECES)


def environment() -> dict[str, Any]:
    """Return what results may depend on besides Sweep."""
    import llvmlite.binding
    import numpy as np

    packages = ("llvmlite", "numba", "numpy", "optuna", "pandas", "pyarrow", "scipy")
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": llvmlite.binding.get_host_cpu_name(),
        "numpy_simd": np.show_config(mode="dicts")["SIMD Extensions"].get("found", []),
        "python": platform.python_version(),
        **{package: importlib.metadata.version(package) for package in packages},
    }


def main() -> None:
    """Run all studies and write what they give."""
    parser = argparse.ArgumentParser(description="Record the results of six small studies.")
    parser.add_argument("--workers", type=int, help="processes; no result depends on them")
    workers = parser.parse_args().workers
    pieces: dict[str, dict[str, Any]] = {}
    for name in STUDIES:
        with tempfile.TemporaryDirectory() as folder:
            found = pieces_of(name, Path(folder), workers)
        pieces[name] = {title: asdict(piece) for title, piece in found.items()}
    recorded = {"environment": environment(), "pieces": pieces}
    RECORDED.parent.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
