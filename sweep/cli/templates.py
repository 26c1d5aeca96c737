"""The commented study file that `sweep init` writes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sweep.errors import InputError

__all__ = ["study_template", "write_template"]

_TEMPLATE = """\
# A study: what is searched, on which ticks, at which costs.
# Every key can be overridden: sweep run {file} --set study.trials=500
# Durations are texts such as "250ms", "90s", "15m", "1h", "3d".

[study]
strategy = {strategy}  # a path from this file
trials = 200                        # stop after this many variants ...
# time_limit = "30m"                # ... or after so long
# patience = 500                    # ... or after this many without improvement
{name}  # results/NAME; this file's name by default
# seed = 0
# sampler = "tpe"                   # grid, random, qmc, tpe, cmaes, gp, nsga2
# sampler = {{name = "tpe", multivariate = true}}    # with options of its own
# pruner = "none"                   # median, successive_halving, hyperband, wilcoxon
# window = 16                       # variants proposed ahead; a few times the cores
# objective = "sharpe"              # a metric, "sharpe - 2 * max_drawdown", "file.py:function",
# directions = ["maximize"]         # or a list of them, each with its direction
constraints = ["trades >= 30"]      # requirements on results
# start = true                      # first the strategy's defaults, or the rows of a CSV
# deterministic = true              # equal seeds give equal studies, on any machine
# max_failures = 0.5                # failed variants that end the study: a share or a number
# top = 10                          # winners shown and evaluated on the holdout
# live_holdout = false              # open the holdout for the best so far too: it is spent by it
# storage = "sqlite"                # or a URL that Optuna opens

[data]
source = {source}  # a path from this file, or "synth" for generated ticks
# kind = "quotes"                   # or "trades"
# instrument = "XAUUSD"             # where the source holds several
# from = 2014-05-01                 # a date or a time; UTC unless it says otherwise
# to = 2014-06-01                   # excluded
# columns = {{ts = "Time", bid = "Bid", ask = "Ask"}}    # where they are not found out
# time_format = "ms"                # iso, s, ms, us, ns, or a pattern such as "%d.%m.%Y %H:%M:%S"
# timezone = "UTC"                  # of times that name none
# policies = {{crossed = "drop"}}     # what to do with ticks that a check finds
# synth = {{sessions = 20, seed = 7}} # of the generator
# slices = 1                        # a number, or a duration such as "1d"
# slicing = "carry"                 # or "independent": each slice starts and ends flat
# holdout = 0.25                    # kept from the search: a share, a duration, a date, or 0
# store = "disk"                    # or "memory"

[space]                             # ranges that override the strategy's
# fast = "5:50"                     # low:high
# fast = "5:50:5"                   # with a step
# fast = "5:200:log"                # on a logarithmic scale
# fast = {{low = 5, high = 200, log = true, points = 12, default = 20}}
# mode = ["ema", "sma"]             # a choice
# slow = 100                        # fixed

[costs]                             # no cost is a statement too: write the zeros out
commission_per_unit = 0.0           # cash per contract filled
# commission_rate = 0.0             # share of notional
# commission_per_fill = 0.0         # cash per fill
slippage = 0.0                      # price units against you
# latency = "0s"                    # from a decision to the earliest fill
# mark = "mid"                      # or "close": what an open position could be sold for
# half_spread = 0.0                 # price units put around trades

[account]
# capital = 10000.0                 # by default the price of one contract at the first tick
# contract_size = 1.0
# clock = "1h"                      # on which returns are taken, from "1m" to "1d"
# periods_per_year = 6048.0         # by default 252 days of 24 hours

[monte_carlo]                       # paths of objectives over paths, and of sweep mc
# method = "sessions"               # slots, stationary, circular, moving
# paths = 1000
# step = 10                         # paths after which a pruner decides
# seed = 0                          # by default the study's
# block = 1.0                       # sessions, minutes (slots) or ticks
# restart = "session"               # block, never: where a strategy starts afresh on a path
# level = "log"                     # or "ticks": what of a move is kept at another price
# tick_size = 0.01                  # of the price grid, by default found out
# gap = 30.0                        # minutes without a tick between sessions
# opens = 22.0                      # hour (UTC) of sessions, instead of gaps

[validate]                          # how sweep validate splits the search range
# scheme = "walk_forward"           # holdout, k_fold, cpcv
# folds = 5                         # of walk_forward and k_fold
# train = 10                        # units of a train window, by default what the tests leave
# test = 2                          # units of a test window
# groups = 6                        # of cpcv: into how many the range is cut
# test_groups = 2                   # of cpcv: how many of them each split tests
# purge = "1h"                      # by default the best variant's longest trade and the latency
# embargo = "1h"                    # after a test window; not set: purge or warm-up
# anchored = false                  # all train windows begin with the range
# unit = "session"                  # or a stretch of the clock such as "4h"

[compute]                           # nothing here changes a result
# engine = "loky"                   # "serial": for a debugger; "joblib": the active backend
# workers = 8                       # by default every core
# memory = "2GB"                    # of a worker, before it is replaced
# batch = 64                        # variants evaluated together
"""


def study_template(
    *,
    strategy: str = "strategy.py",
    source: str = "synth",
    file: str = "study.toml",
    name: str | None = None,
) -> str:
    """Return a study file with every key, those that have a default commented out.

    Parameters
    ----------
    strategy, source : str
        Values of ``study.strategy`` and ``data.source``.
    file : str
        The name under which it is going to be saved, for its comments.
    name : str, optional
        Of the study; commented out without one.
    """
    named = '# name = "my-study"' if name is None else f"name = {_text(name)}"
    return _TEMPLATE.format(
        file=file,
        name=f"{named:<34}",
        strategy=_text(strategy),
        source=_text(source),
    )


def _text(value: str) -> str:
    """Return a text as TOML."""
    return json.dumps(value, ensure_ascii=False)


def write_template(
    path: str | Path,
    *,
    strategy: str = "strategy.py",
    source: str = "synth",
    force: bool = False,
) -> Path:
    """Write `study_template` to a file, and return its path.

    Parameters
    ----------
    path : str or Path
    strategy : str, optional
        A relative one is meant from the file's folder.
    source : str, optional
    force : bool, optional
        Replace a file that is there.

    Raises
    ------
    InputError
        If the file is there, or cannot be written.
    """
    path = Path(path)
    text = study_template(strategy=strategy, source=source, file=os.fspath(path))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(f"{path}: the file is there already; --force replaces it") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None
    return path
