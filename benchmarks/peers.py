"""What other backtesters take for the same work, and whether they find the same.

One strategy in all of them: two exponential averages of the mid, one contract long while
the fast one is above the slow one, one short otherwise. A decision at a tick is filled at
the next tick, buys at its ask and sales at its bid, for a commission on the notional; the
first decision is that of the second tick, and what is open at the end is closed at the
last tick. Each arm (``benchmarks/peer_arms``) runs in a process of its own, on one core,
on as many ticks and variants as it gets through in its time; and its profit, fills and
commission must be those of Sweep on the same ticks and variants before it is timed.

Timed is the CPU time of the arm's process, from ticks that lie in the peer's own form to
profit, fills and commission. Loading, converting and compiling are not in it.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import sweep
from sweep.bench.frame import BenchError, BenchResult, Figure, Settings, figure, ratios
from sweep.bench.ticks import bench_ticks
from sweep.errors import InputError
from sweep.schema import FloatArray1D, TickHandle
from sweep.text import known_names
from sweep.ticks.mapped import attach, column_path

__all__ = ["ARMS", "PYTHON_VARIABLE", "Arm", "Found", "Sized", "differences", "run", "variants"]

#: Names another interpreter for the arms: ``PATH`` for all peers, ``NAME=PATH`` for one,
#: several of these with commas between them.
PYTHON_VARIABLE = "SWEEP_PEERS_PYTHON"

ARMS_FOLDER = Path(__file__).parent / "peer_arms"

#: Commission, as a share of the notional.
RATE = 2e-5
#: Up to which results are the same, relative to the profit (or the commission, if larger).
TOLERANCE = 1e-9

_TICKS, _QUICK_TICKS = 1_000_000, 4_000
_VARIANTS = 256
#: CPU seconds of all rounds of an arm together, by which it is given ticks and variants.
_BUDGET_S, _QUICK_BUDGET_S = 20.0, 0.1
#: Wall seconds after which an arm that does not answer is ended.
_PATIENCE_S = 900.0
#: Decimals of prices that are tried: two peers hold prices as integers.
_DECIMALS = 8

Rows = list[tuple[float, int, float]]


class Arm(NamedTuple):
    """How an arm's peer is installed."""

    pip: str


#: Besides Sweep's own.
ARMS = {
    "numpy": Arm("numpy scipy"),
    "pandas": Arm("pandas"),
    "vectorbt": Arm("vectorbt 'plotly<7'"),
    "vectorbt_rust": Arm("'vectorbt[rust]' 'plotly<7'"),
    "hftbacktest": Arm("hftbacktest"),
    "backtesting": Arm("backtesting"),
    "pybroker": Arm("lib-pybroker"),
    "nautilus": Arm("nautilus_trader"),
}


@dataclass(frozen=True)
class Found:
    """What an arm found, against what Sweep found.

    Attributes
    ----------
    profit, commission : float
        Largest difference of a variant, relative to the larger of profit and commission
        in Sweep.
    fills : int
        Largest difference.
    """

    profit: float
    fills: int
    commission: float

    @property
    def same(self) -> bool:
        """Whether the results agree."""
        return self.profit <= TOLERANCE and self.fills == 0 and self.commission <= TOLERANCE


@dataclass(frozen=True)
class Sized:
    """An arm that is ready for rounds.

    Attributes
    ----------
    n_ticks, n_variants : int
        What it takes in a round.
    versions : dict of str to str
    accounting : str
    rows : list of (float, int, float)
        Profit, fills and commission of each variant.
    """

    n_ticks: int
    n_variants: int
    versions: dict[str, str]
    accounting: str
    rows: Rows


class MissingPeerError(BenchError):
    """The interpreter of an arm has not what it needs."""


class Process:
    """The process of an arm; see ``peer_arms/serve.py`` for what it is asked.

    Parameters
    ----------
    name : str
    python : str
        Interpreter.
    """

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        self.log = tempfile.TemporaryFile()
        try:
            self.child = subprocess.Popen(
                [python, str(ARMS_FOLDER / "serve.py"), name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.log,
                text=True,
                env=_environment(python),
            )
        except OSError as error:
            self.log.close()
            raise InputError(f"{python}: {error.strerror}, for the arm {name}") from None

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises
        ------
        MissingPeerError
            If a module that the arm imports is not there.
        BenchError
            If the arm fails, ends, or takes too long.
        """
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        clock = threading.Timer(_PATIENCE_S, self.child.kill)
        clock.start()
        try:
            print(json.dumps(request), file=self.child.stdin, flush=True)
            line = self.child.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            clock.cancel()
        if not line:
            code = self.child.wait()
            raise BenchError(f"{self.name}: its process ended with {code}: {self._said()}")
        answer: dict[str, Any] = json.loads(line)
        if "missing" in answer:
            raise MissingPeerError(f"{self.name}: no module {answer['missing']!r}")
        if "error" in answer:
            raise BenchError(f"{self.name}: {answer['error'].strip().splitlines()[-1]}")
        return answer

    def open(self, request: Mapping[str, Any]) -> Sized:
        """Let the arm load ticks, find what it can take, and run once."""
        answer = self.ask(do="open", **request)
        rows = [(float(p), int(f), float(c)) for p, f, c in answer.pop("rows")]
        return Sized(**answer, rows=rows)

    def round(self) -> float:
        """Return the seconds of one more run."""
        return float(self.ask(do="round")["seconds"])

    def close(self) -> None:
        """End the process."""
        self.child.kill()
        self.child.communicate()
        self.log.close()

    def _said(self) -> str:
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def run(settings: Settings) -> BenchResult:
    """Run the bench; see the module's text.

    Raises
    ------
    InputError
        If ``SWEEP_PEERS_PYTHON`` names what is not there.
    BenchError
        If Sweep's own arm fails. Peers that fail are left out, with the reason.
    """
    pythons = interpreters(os.environ.get(PYTHON_VARIABLE, ""))
    handle = bench_ticks(settings, _TICKS, _QUICK_TICKS)
    rounds = settings.rounds(5)
    budget = _QUICK_BUDGET_S if settings.quick else _BUDGET_S
    opening = _request(handle, budget / rounds)
    notes = [
        f"{handle.n_ticks:,} ticks, commission {RATE:g} of the notional; CPU time of one process "
        f"each, {budget:g} s for {rounds} rounds; loading and compiling are not timed; "
        f"load of the machine at the start {os.getloadavg()[0]:.1f}"
    ]
    processes: dict[str, Process] = {}
    sized: dict[str, Sized] = {}
    found: dict[str, Found] = {}
    try:
        own = processes["sweep"] = Process("sweep", sys.executable)
        settings.say("sweep")
        sized["sweep"] = own.open(opening)
        for name, arm in ARMS.items():
            settings.say(name)
            processes[name] = Process(name, pythons.get(name, pythons[""]))
            try:
                sized[name] = processes[name].open(opening)
            except MissingPeerError as error:
                notes.append(f"skipped {error}; pip install {arm.pip}")
            except BenchError as error:
                notes.append(f"skipped {error}")
            else:
                found[name] = differences(sized[name].rows, _reference(own, sized[name]))
                if found[name].same:
                    continue
                notes.append(f"not timed, results differ from Sweep's: {name}, {found[name]}")
                del sized[name]
            processes.pop(name).close()
        settings.say("rounds")
        seconds = _rounds({name: processes[name] for name in sized}, rounds)
    finally:
        for process in processes.values():
            process.close()
    each = {
        name: [1e9 * s / (sized[name].n_ticks * sized[name].n_variants) for s in seconds[name]]
        for name in sized
    }
    figures = [_own_figure(name, each[name], sized[name], settings) for name in sized]
    figures += [
        figure(f"sweep_over_{name}", "x", ratios(each[name], each["sweep"]), settings)
        for name in sized
        if name != "sweep"
    ]
    return BenchResult("peers", tuple(figures), tuple(notes), (_table(sized, found),))


def variants(count: int) -> list[tuple[float, float]]:
    """Return windows of the fast and the slow average, whole ticks, spread over the plane.

    Parameters
    ----------
    count : int
        The first of them are the same for every count.
    """
    # Kronecker sequence of the plastic number: any first few cover the plane evenly.
    # M. Roberts (2018), "The unreasonable effectiveness of quasirandom sequences".
    plastic = 1.324717957244746
    places = [(k / plastic % 1.0, k / plastic**2 % 1.0) for k in range(1, count + 1)]
    return [
        (float(round(50.0 * 40.0**u)), float(round(2_100.0 * (50_000.0 / 2_100.0) ** v)))
        for u, v in places
    ]


def differences(rows: Sequence[tuple[float, int, float]], reference: Rows) -> Found:
    """Compare an arm's results with Sweep's.

    Parameters
    ----------
    rows, reference : sequence of (float, int, float)
        Profit, fills and commission of the same variants.
    """
    profit = commission = 0.0
    fills = 0
    for (p, f, c), (p0, f0, c0) in zip(rows, reference, strict=True):
        scale = max(abs(p0), c0, sys.float_info.min)
        profit = max(profit, _apart(p, p0, scale))
        commission = max(commission, _apart(c, c0, scale))
        fills = max(fills, abs(f - f0))
    return Found(profit, fills, commission)


def _apart(value: float, reference: float, scale: float) -> float:
    apart = abs(value - reference) / scale
    return apart if math.isfinite(apart) else math.inf


def interpreters(text: str) -> dict[str, str]:
    """Return the interpreter of each arm that has one of its own, and ``""`` for the rest.

    Parameters
    ----------
    text : str
        As `PYTHON_VARIABLE` has it.

    Raises
    ------
    InputError
        If an arm or a file is not there.
    """
    found = {"": sys.executable}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, equals, path = entry.rpartition("=")
        if equals and name not in ARMS:
            raise InputError(f"{PYTHON_VARIABLE}: no arm {name!r}{known_names(name, ARMS)}")
        if not Path(path).is_file():
            raise InputError(f"{PYTHON_VARIABLE}: no interpreter {path!r}")
        found[name] = path
    return found


def decimals(*columns: FloatArray1D) -> int:
    """Return how many decimals the prices have, at most 8.

    Parameters
    ----------
    *columns : ndarray of shape (n_ticks,), float64
    """
    import numpy as np

    for digits in range(_DECIMALS):
        if all(np.array_equal(np.round(column, digits), column) for column in columns):
            return digits
    return _DECIMALS


def _request(handle: TickHandle, round_s: float) -> dict[str, Any]:
    ticks = attach(handle)
    # Cash that no variant loses; not more, since some peers add up profits in it.
    cash = 10.0 ** math.ceil(math.log10(10.0 * float(ticks.ask.max())))
    return {
        "bid": str(column_path(handle.path, "bid")),
        "ask": str(column_path(handle.path, "ask")),
        "n_ticks": handle.n_ticks,
        "pairs": variants(_VARIANTS),
        "round_s": round_s,
        "terms": {
            "rate": RATE,
            "cash": cash,
            "decimals": decimals(ticks.bid, ticks.ask),
            "handle": asdict(handle),
        },
    }


def _reference(own: Process, sized: Sized) -> Rows:
    answer = own.ask(do="evaluate", n_ticks=sized.n_ticks, n_variants=sized.n_variants)
    return [(float(p), int(f), float(c)) for p, f, c in answer["rows"]]


def _rounds(processes: Mapping[str, Process], rounds: int) -> dict[str, list[float]]:
    """Time arms in turn, as `sweep.bench.frame.timed` does, each in its process."""
    names = list(processes)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for k in range(rounds):
        shift = k % len(names)
        for name in names[shift:] + names[:shift]:
            seconds[name].append(processes[name].round())
    return seconds


def _own_figure(name: str, values: list[float], sized: Sized, settings: Settings) -> Figure:
    note = f"{sized.n_ticks:,} ticks, {sized.n_variants} variants; {sized.accounting}"
    return figure(f"{name}_ns", "ns", values, settings, note=note)


def _table(
    sized: Mapping[str, Sized], found: Mapping[str, Found]
) -> tuple[str, tuple[str, ...], tuple[tuple[Any, ...], ...]]:
    names = ("arm", "version", "ticks", "variants", "fills", "profit_apart", "works_out")
    rows = tuple(
        (
            name,
            next(iter(arm.versions.values())),
            arm.n_ticks,
            arm.n_variants,
            sum(fills for _, fills, _ in arm.rows),
            found[name].profit if name in found else 0.0,
            arm.accounting,
        )
        for name, arm in sized.items()
    )
    return "what each arm took, and how far its profit is from Sweep's", names, rows


def _environment(python: str) -> dict[str, str]:
    """Return the environment of an arm: one thread, no progress bars, this very program."""
    env = dict(os.environ)
    for name in ("NUMBA", "OMP", "OPENBLAS", "MKL", "RAYON"):
        env[f"{name}_NUM_THREADS"] = "1"
    env |= {"POLARS_MAX_THREADS": "1", "TQDM_DISABLE": "1"}
    # Another interpreter must not see this one's packages.
    path = env.pop("PYTHONPATH", "")
    if python == sys.executable:
        home = str(Path(sweep.__file__).parent.parent)
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (home, path)))
    return env
