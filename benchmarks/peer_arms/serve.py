"""Serve one arm: read requests as lines of JSON, answer each with one line.

    python serve.py ARM

Run as a script, under the interpreter that has the peer. An arm is a file beside this one,
``with_ARM.py``. Neither imports anything of the program (Sweep's own arm excepted) nor
belongs to one of its packages, so that they run wherever NumPy and the peer are. It has

- ``PACKAGES``: the distributions whose versions are reported, the peer's first;
- ``ACCOUNTING``: what it works out;
- ``MOST``: ticks times variants that it can hold at a time;
- ``load(bid, ask, pairs, terms) -> begin``: brings ticks into the peer's own form;
- ``begin() -> run``: sets up a fresh simulation;
- ``run() -> [(profit, fills, commission), ...]``: one entry a variant. This alone is timed.

What libraries print goes to stderr, so that stdout holds answers alone.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

#: Ticks that sizing begins with.
_FIRST = 2_000

Rows = list[tuple[float, int, float]]


class Arm:
    """A loaded arm with its ticks, and the simulation that rounds repeat.

    Parameters
    ----------
    name : str
        ``with_NAME.py`` beside this file.
    request : dict
        ``bid`` and ``ask`` (files of raw float64), ``n_ticks``, ``pairs`` (windows, in
        ticks), ``terms`` (what arms are told besides) and ``round_s``.
    """

    def __init__(self, name: str, request: dict[str, Any]) -> None:
        path = Path(__file__).with_name(f"with_{name}.py")
        spec = importlib.util.spec_from_file_location(f"with_{name}", path)
        assert spec is not None
        assert spec.loader is not None
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)
        count = request["n_ticks"]
        self.bid = np.fromfile(request["bid"], dtype=np.float64, count=count)
        self.ask = np.fromfile(request["ask"], dtype=np.float64, count=count)
        self.pairs = [(float(fast), float(slow)) for fast, slow in request["pairs"]]
        self.terms = request["terms"]
        self.round_s = float(request["round_s"])

    def load(self, n_ticks: int, n_variants: int) -> Callable[[], Callable[[], Rows]]:
        """Give the arm the first ticks and variants."""
        begin: Callable[[], Callable[[], Rows]] = self.module.load(
            self.bid[:n_ticks], self.ask[:n_ticks], self.pairs[:n_variants], self.terms
        )
        return begin

    def size(self) -> tuple[int, int]:
        """Return how many ticks and variants a round can take: ticks first, then variants."""
        everything = len(self.bid)
        n = min(_FIRST, everything)
        timed(self.load(n, 1)())  # compiles
        while True:
            took = timed(self.load(n, 1)())[0]
            if n == everything or took > self.round_s / 8.0:
                break
            n = min(4 * n, everything)
        room = min(self.round_s / (max(took, 1e-9) / n), self.module.MOST)
        if room < everything:
            return max(int(room), min(_FIRST, everything)), 1
        return everything, max(min(int(room // everything), len(self.pairs)), 1)


def timed(run: Callable[[], Rows]) -> tuple[float, Rows]:
    """Return the CPU seconds of all threads of this process, and what ``run`` found."""
    began = time.process_time()
    rows = run()
    return time.process_time() - began, rows


def answers_to(name: str, requests: TextIO, answer: Callable[[dict[str, Any]], None]) -> None:
    """Answer requests until there are no more.

    ``open`` sizes the arm, runs it once and answers with what it found; ``round`` runs it
    again and answers with the seconds; ``evaluate`` runs a given number of ticks and
    variants and answers with what it found.
    """
    arm: Arm | None = None
    begin: Callable[[], Callable[[], Rows]] | None = None
    for line in requests:
        request = json.loads(line)
        try:
            if request["do"] == "open":
                arm = Arm(name, request)
                n_ticks, n_variants = arm.size()
                begin = arm.load(n_ticks, n_variants)
                answer(
                    {
                        "n_ticks": n_ticks,
                        "n_variants": n_variants,
                        "versions": {p: _version(p) for p in arm.module.PACKAGES},
                        "accounting": arm.module.ACCOUNTING,
                        "rows": _plain(begin()()),
                    }
                )
            elif request["do"] == "round" and begin is not None:
                answer({"seconds": timed(begin())[0]})
            elif request["do"] == "evaluate" and arm is not None:
                run = arm.load(request["n_ticks"], request["n_variants"])()
                answer({"rows": _plain(run())})
            else:
                answer({"error": f"{request['do']!r} is not a request, or comes before 'open'"})
        except ModuleNotFoundError as error:
            answer({"missing": error.name or str(error)})
        except Exception:
            answer({"error": traceback.format_exc()})


def _plain(rows: Rows) -> Rows:
    """Return rows without NumPy's types, for JSON."""
    return [(float(profit), int(fills), float(commission)) for profit, fills, commission in rows]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def main() -> None:
    """Serve the arm that the command line names."""
    # Libraries print where they like; the pipe must hold answers alone.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as pipe:
        os.dup2(2, 1)
        warnings.simplefilter("ignore")

        def answer(document: dict[str, Any]) -> None:
            print(json.dumps(document), file=pipe, flush=True)

        answers_to(sys.argv[1], sys.stdin, answer)


if __name__ == "__main__":
    main()
