"""How much of the best of many variants to believe.

Plain functions on arrays: session returns in, statistics out. Nothing here knows ticks,
strategies or studies. A statistic that its data cannot support is NaN with a reason.
"""

from __future__ import annotations

from sweep.stats.checks import MIN_SESSIONS, PValue, Statistic
from sweep.stats.overfit.best import (
    RealityCheck,
    StepM,
    SuperiorAbility,
    reality_check,
    separate_p_values,
    spa,
    stepm,
)
from sweep.stats.overfit.cscv import CrossValidation, cscv
from sweep.stats.overfit.deflated import (
    DeflatedBest,
    DeflatedSharpe,
    deflated_sharpe_of_best,
    deflated_sharpe_ratio,
    deflated_sharpe_ratio_2025,
    minimum_track_record_length,
    minimum_track_record_length_2025,
    probabilistic_sharpe_ratio,
    probabilistic_sharpe_ratio_2025,
)
from sweep.stats.overfit.effective import effective_trials
from sweep.stats.overfit.expected import (
    expected_maximum,
    expected_maximum_exact,
    variance_of_maximum,
)
from sweep.stats.overfit.mcs import MAX_PAIRED, ModelConfidenceSet, model_confidence_set
from sweep.stats.overfit.multiple import benjamini_hochberg, benjamini_yekutieli, bonferroni, holm
from sweep.stats.overfit.resamples import Draws, given_draws, session_draws
from sweep.stats.overfit.sharpe import (
    AnnualSharpe,
    Moments,
    annual_sharpe_ratio,
    autocorrelations,
    eta,
    eta_ar1,
    moments,
    newey_west_lags,
    sharpe_ratio,
    sharpe_ratios,
    sharpe_standard_error,
    sharpe_standard_error_hac,
    sharpe_standard_error_normal,
)
from sweep.stats.overfit.splits import (
    CombinatorialSplit,
    backtest_paths,
    combinatorial_purged,
    combinatorial_purged_by_time,
    fold_bounds,
    purged_k_fold,
    purged_k_fold_by_time,
)
from sweep.stats.overfit.windows import (
    WalkForward,
    Window,
    positions,
    walk_forward,
    walk_forward_by_time,
)

__all__ = [
    "MAX_PAIRED",
    "MIN_SESSIONS",
    "AnnualSharpe",
    "CombinatorialSplit",
    "CrossValidation",
    "DeflatedBest",
    "DeflatedSharpe",
    "Draws",
    "ModelConfidenceSet",
    "Moments",
    "PValue",
    "RealityCheck",
    "Statistic",
    "StepM",
    "SuperiorAbility",
    "WalkForward",
    "Window",
    "annual_sharpe_ratio",
    "autocorrelations",
    "backtest_paths",
    "benjamini_hochberg",
    "benjamini_yekutieli",
    "bonferroni",
    "combinatorial_purged",
    "combinatorial_purged_by_time",
    "cscv",
    "deflated_sharpe_of_best",
    "deflated_sharpe_ratio",
    "deflated_sharpe_ratio_2025",
    "effective_trials",
    "eta",
    "eta_ar1",
    "expected_maximum",
    "expected_maximum_exact",
    "fold_bounds",
    "given_draws",
    "holm",
    "minimum_track_record_length",
    "minimum_track_record_length_2025",
    "model_confidence_set",
    "moments",
    "newey_west_lags",
    "positions",
    "probabilistic_sharpe_ratio",
    "probabilistic_sharpe_ratio_2025",
    "purged_k_fold",
    "purged_k_fold_by_time",
    "reality_check",
    "separate_p_values",
    "session_draws",
    "sharpe_ratio",
    "sharpe_ratios",
    "sharpe_standard_error",
    "sharpe_standard_error_hac",
    "sharpe_standard_error_normal",
    "spa",
    "stepm",
    "variance_of_maximum",
    "walk_forward",
    "walk_forward_by_time",
]
