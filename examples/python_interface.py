"""The Python interface, cell by cell: run a study, read it, replay its best variant.

Runs as a script, and in editors that know ``# %%`` cells (VS Code, Spyder, PyCharm,
Jupyter with Jupytext). It needs no download: the ticks are generated.
"""

# %% A study from its file. Overrides are those of ``sweep run --set section.key=value``.
from pathlib import Path

import numpy as np

import sweep

quickstart = Path(__file__).resolve().parent.parent / "studies" / "quickstart.toml"
study = sweep.create_study(
    quickstart,
    out="results/python-interface",
    trials=80,
    overrides=["data.synth.sessions=20", "study.top=5"],
)

# %% Run it, or continue it if its folder is there already. The winners are replayed to
# the bit and evaluated on the holdout before this returns.
summary = sweep.run(study)
print(f"{summary.finished} trials in {summary.elapsed_s:.1f} s; ended by {summary.reason}")

# %% Every trial as a row of a pandas DataFrame. Cash is in the quote currency, times are in
# seconds, shares are fractions; what is undefined is NaN.
trials = study.trials()
complete = trials[trials["state"] == "complete"]
print(trials["state"].value_counts())
print(complete.nlargest(5, "sharpe")[["trial", "fast", "slow", "sharpe", "trades"]])

# %% The winners, with their figures on the ticks that the search never saw.
best = study.best()
print(trials.set_index("trial").loc[best, ["sharpe", "holdout_sharpe", "holdout_trades"]])

# %% One of them alone, in full: fills, and equity and position at every tick.
found = study.replay(best[0])
fills, equity, ts = found.replay.fills, found.replay.equity, found.replay.ts
print(f"{found.params}: {len(fills)} fills on {len(ts):,} ticks")

# The metrics are those of the search, and follow from what is here.
assert found.metrics["sharpe"] == study.metrics(best[0])["sharpe"]
high = np.maximum(np.maximum.accumulate(equity), study.manifest["capital"])
print(f"maximum drawdown {np.max((high - equity) / high):.2%}")
print(f"costs {np.sum(fills['commission'] + fills['slippage'] + fills['spread']):.2f}")

# %% A variant that was no trial: parameters that are not named take their defaults.
other = study.replay({"fast": 300.0, "slow": 900.0})
print(f"fast 300, slow 900: sharpe {other.metrics['sharpe']:.2f}")

# %% Later, or elsewhere: open the folder again. The latest one under results by default.
again = sweep.open_study("results/python-interface")
assert again.best() == best

# %% What could have happened instead: the best on redrawn sessions. One value a path.
findings = sweep.monte_carlo(again, best[:1], methods=("pnl", "sessions"), n_paths=64)
for finding in findings:
    low = np.quantile(finding.paths["net_profit"], 0.05)
    print(f"{finding.method}: 5 % of {finding.n_paths} paths earn less than {low:.2f}")
