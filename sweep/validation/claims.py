"""One claim from each method: a sentence with its numbers, a grade, what would change it.

A p-value of at most 0.01 is strong, of at most 0.05 weak, of more than that luck: where
there is no effect, a test says anything else than luck at 5 % at most.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from sweep.errors import InputError
from sweep.stats.overfit import (
    MAX_PAIRED,
    Draws,
    ModelConfidenceSet,
    Moments,
    StepM,
    benjamini_yekutieli,
    cscv,
    deflated_sharpe_of_best,
    expected_maximum,
    minimum_track_record_length,
    model_confidence_set,
    moments,
    probabilistic_sharpe_ratio,
    reality_check,
    separate_p_values,
    sharpe_standard_error,
    spa,
    stepm,
)
from sweep.text import number, percent
from sweep.validation.evidence import (
    LUCK,
    STRONG,
    UNKNOWN,
    WEAK,
    Claim,
    Evidence,
    Held,
    OutOfSample,
)

__all__ = [
    "FEWEST",
    "alike",
    "blocks_of",
    "confidence_set",
    "deflated",
    "generalises",
    "grade_of",
    "holdout",
    "record",
    "stepped",
    "superior",
    "unknown",
    "unweighted",
    "walked_forward",
    "which",
]

#: Sessions below which nothing is said: a bootstrap of fewer, or a split of them, is noise.
FEWEST = 30

_STRONG, _WEAK = 0.01, 0.05
#: A spread of ratios this many times that of luck cannot be luck's alone.
_WIDER = 1.25
#: Below this share of the spread that luck gives, settings differ by rounding alone.
_ROUNDING = 1e-12
#: Of the capital: a profit that sums of rounded numbers leave where nothing was earned.
_DUST = 1e-12
_PBO_GOOD, _LOSS_GOOD, _HALF = 0.2, 0.05, 0.5


def grade_of(p: float) -> str:
    """Return the grade of a p-value."""
    return STRONG if p <= _STRONG else WEAK if p <= _WEAK else LUCK


def unknown(name: str, reason: str, change: str = "") -> Claim:
    """Return a claim that the data do not permit."""
    return Claim(name, UNKNOWN, f"Cannot be said, because {reason}.", {}, change)


def blocks_of(n_sessions: int) -> int:
    """Return into how many blocks cross-validation cuts sessions: 16, or 10 of short records."""
    return 16 if n_sessions >= 64 else 10


def _p(value: float) -> str:
    """Return ``p = 0.31``; approximations claim no p-value below a thousandth."""
    if value > 0.99:
        return "p > 0.99"
    # 1,000 resamples give 1/1001 at best, and may say so.
    # Next to the limit of a grade, enough digits to see on which side the value lies.
    close = any(value != at and number(value, 2) == number(at, 2) for at in (_STRONG, _WEAK))
    return "p < 0.001" if value < 0.00095 else f"p = {number(value, 3 if close else 2)}"


def _by(change: float) -> str:
    return f"{'lower' if change < 0.0 else 'higher'} by {number(abs(change), 2)}"


def _sure(confidence: float) -> str:
    return "more than 99.9%" if confidence > 0.9995 else percent(confidence, 1)


def _settings(n: int) -> str:
    return f"{n:,} setting" + ("" if n == 1 else "s")


# -- the winner alone ------------------------------------------------------------------


def record(evidence: Evidence) -> Claim:
    """Say whether the winner's record, taken alone, is above 0 (probabilistic Sharpe ratio)."""
    name = "record"
    if evidence.winner < 0:
        return unknown(name, "the best trial has no session returns")
    found = moments(evidence.returns[:, evidence.winner])
    if found.reason:
        return unknown(name, f"of the winner, {found.reason}")
    psr = _psr(found, 0.0)
    if psr.reason:
        return unknown(name, psr.reason)
    annual = found.sharpe * math.sqrt(evidence.per_year)
    needed = minimum_track_record_length(
        found.sharpe, skew=found.skew, kurtosis=found.kurtosis, confidence=1.0 - _WEAK
    )
    p = psr.p
    text = (
        f"Taken alone, as if nothing else had been tried, the winner's Sharpe ratio of "
        f"{number(annual, 3)} a year over {found.n:,} sessions is above 0 with a confidence of "
        f"{_sure(psr.value)}"
    )
    figures = {"sharpe": annual, "psr": psr.value, "p": p}
    change = ""
    if needed.reason:
        text += "; no length of record would show it to be above 0."
        change = "a winner that earns: its mean session is a loss"
    else:
        figures["sessions_needed"] = needed.value
        least = math.ceil(needed.value)
        text += f"; {percent(1.0 - _WEAK)} takes {least:,} sessions like these."
        if least > found.n:
            change = f"{least - found.n:,} more sessions like these"
    return Claim(name, grade_of(p), text, figures, change)


def _psr(found: Moments, benchmark: float) -> _Confidence:
    if found.reason:
        return _Confidence(math.nan, math.nan, found.reason)
    psr = probabilistic_sharpe_ratio(
        found.sharpe, found.n, benchmark=benchmark, skew=found.skew, kurtosis=found.kurtosis
    )
    # That of the opposite returns, since 1 - psr keeps no digit where it is small.
    opposite = probabilistic_sharpe_ratio(
        -found.sharpe, found.n, benchmark=-benchmark, skew=-found.skew, kurtosis=found.kurtosis
    )
    return _Confidence(psr.value, opposite.value, psr.reason)


class _Confidence(NamedTuple):
    """That a Sharpe ratio is above a benchmark, and the p-value of its test."""

    value: float
    p: float
    reason: str | None


# -- the winner among all that was tried -----------------------------------------------


def deflated(evidence: Evidence) -> Claim:
    """Return what luck alone would bring of that many settings, compared with the winner.

    Luck's best is the expected maximum of as many ratios that are all 0 in truth. Their
    spread is the one observed, but at most that which sampling alone gives ratios of 0,
    ``1 / sqrt(n - 1)``: what is wider is no luck. The deflated Sharpe ratio of the paper takes
    all of the spread for luck; where it says luck by the effective number of settings, the grade
    is weak at best. By the raw number it is shown alone: settings that differ in truth, such as
    following and fading, would always look like luck then.
    """
    name = "number tried"
    r, n_tried = evidence.returns, evidence.n_tried
    if n_tried < 2:
        return unknown(name, "one setting was tried: nothing was selected")
    if evidence.winner < 0:
        return unknown(name, "the best trial has no session returns")
    own = moments(r[:, evidence.winner])
    if own.reason:
        return unknown(name, f"of the winner, {own.reason}")
    found = deflated_sharpe_of_best(r, n_trials=n_tried)
    if found.raw.reason:
        return unknown(name, found.raw.reason)
    n = own.n
    of_luck = min(found.raw.variance, 1.0 / (n - 1))
    if of_luck * (n - 1) < _ROUNDING:
        of_luck = 0.0
    year = math.sqrt(evidence.per_year)
    raw = expected_maximum(float(n_tried), variance=of_luck)
    few = found.effective.n_trials
    lenient = expected_maximum(few, variance=of_luck)
    held = [_psr(own, t) for t in (raw, lenient, found.raw.threshold, found.effective.threshold)]
    if held[0].reason:
        return unknown(name, held[0].reason)
    p, p_few, p_paper, p_paper_few = (h.p for h in held)
    wider = math.sqrt(found.raw.variance * (n - 1))
    kept = r.shape[1]
    beside = f" ({kept:,} with returns here)" if kept < n_tried else ""
    text = (
        f"Of {_settings(n_tried)} tried{beside}, pure luck alone would give a best Sharpe ratio of "
        f"{number(raw * year, 2)} a year; yours is {number(own.sharpe * year, 2)}; {_p(p)}. "
        f"Counted as {number(few, 3)} independent ones, luck's best is "
        f"{number(lenient * year, 2)} and {_p(p_few)}."
    )
    if wider > _WIDER:
        text += (
            f" Ratios spread {number(wider, 2)} times as wide as luck spreads them; held against "
            f"all of that, differences that may be real and luck alike (deflated Sharpe ratio of "
            f"2014), {_p(p_paper)}, and {_p(p_paper_few)} by the independent ones."
        )
    grade = grade_of(p)
    if grade == STRONG and p_paper_few > _WEAK:
        grade = WEAK
    beyond: dict[str, float] = {}
    if evidence.n_in_folds:
        ever = evidence.n_evaluations
        p_ever = _psr(own, expected_maximum(float(ever), variance=of_luck)).p
        text += (
            f" Searches in folds tried {evidence.n_in_folds:,} more, from which no winner comes; "
            f"counted as well, {_p(p_ever)}."
        )
        beyond = {"n_in_folds": evidence.n_in_folds, "p_with_folds": p_ever}
    figures = {
        "sharpe": own.sharpe * year,
        "sharpe_of_luck": raw * year,
        "p": p,
        "n_tried": n_tried,
        "n_effective": few,
        "sharpe_of_luck_effective": lenient * year,
        "p_effective": p_few,
        "deflated_sharpe_ratio": held[2].value,
        "deflated_sharpe_ratio_effective": held[3].value,
        "spread_over_luck": wider,
        **beyond,
    }
    return Claim(name, grade, text, figures, _needed(own, raw, p))


def _needed(own: Moments, threshold: float, p: float) -> str:
    """Say how long a record would do, luck's best shrinking with the root of its length."""
    if p <= _WEAK:
        return ""
    error = sharpe_standard_error(own.sharpe, own.n, skew=own.skew, kurtosis=own.kurtosis)
    if not own.sharpe > 0.0 or error.reason:
        return "another rule: at this Sharpe ratio, no record is long enough"
    z = float(stats.norm.isf(_WEAK))
    root = (threshold + z * error.value) * math.sqrt(own.n) / own.sharpe
    return (
        f"the same Sharpe ratio over {math.ceil(root**2):,} sessions instead of {own.n:,} would "
        f"bring p to {_WEAK:g}"
    )


def superior(evidence: Evidence, draws: tuple[Draws, ...]) -> Claim:
    """Say whether the best of all settings beats doing nothing (Hansen's SPA).

    Parameters
    ----------
    evidence : Evidence
    draws : tuple of Draws
        With several block lengths; the highest p-value counts.
    """
    name = "best of all"
    tests = [spa(evidence.returns, d, errors="resampled") for d in draws]
    reason = next((t.reason for t in tests if t.reason), None)
    if reason:
        return unknown(name, reason)
    values = [t.consistent.value for t in tests]
    p = max(values)
    top = tests[values.index(p)]
    n = evidence.returns.shape[1]
    lengths = ", ".join(number(length, 2) for length in sorted(d.block_length for d in draws))
    least, most = number(min(values), 2), number(p, 2)
    span = "" if least == most else f"{least} to {most} "
    who = f"the best of {_settings(n)} looks" if n > 1 else "the one that was tried looks"
    text = (
        f"Were no setting better than doing nothing, {who} as good as the best here in "
        f"{top.consistent.n_extreme:,} of {draws[0].n_bootstrap:,} resamples of sessions: {_p(p)} "
        f"(Hansen's SPA; {span}with blocks of {lengths} sessions)."
    )
    figures = {
        "p": p,
        "p_lower": top.lower.value,
        "p_consistent": top.consistent.value,
        "p_upper": top.upper.value,
        "p_standard_error": top.consistent.error,
        "best_trial": int(evidence.numbers[top.best]),
    }
    change = "" if p <= _STRONG else "a longer record, or a search of fewer settings on fresh data"
    return Claim(name, grade_of(p), text, figures, change)


def unweighted(evidence: Evidence, draws: Draws) -> Claim:
    """Say the same without weighing each setting by its own noise (White's Reality Check)."""
    name = "best in cash"
    found = reality_check(evidence.returns, draws)
    if found.reason:
        return unknown(name, found.reason)
    p = found.p.value
    text = (
        f"By mean profit, not weighed by each setting's own noise, {_p(p)} (White's Reality Check)."
    )
    figures = {"p": p, "p_standard_error": found.p.error}
    return Claim(name, grade_of(p), text, figures)


def stepped(evidence: Evidence, draws: Draws) -> StepM:
    """Return which settings earn more than nothing (StepM)."""
    return stepm(evidence.returns, draws, alpha=_WEAK, errors="resampled", recentring="consistent")


def which(evidence: Evidence, draws: Draws, found: StepM) -> Claim:
    """Say how many settings earn more than nothing, and whether the winner does."""
    name = "which settings"
    r = evidence.returns
    if r.shape[1] < 2:
        return unknown(name, "there is one setting alone: the test above says it all")
    if evidence.winner < 0:
        return unknown(name, "the best trial has no session returns")
    if found.reason:
        return unknown(name, found.reason)
    p = float(found.p_values[evidence.winner])
    if math.isnan(p):
        return unknown(name, "the winner's returns have no variance")
    n_sure = int((found.p_values <= _WEAK).sum())
    alone = separate_p_values(r, draws)
    n_likely = int((benjamini_yekutieli(alone[~np.isnan(alone)]) <= 0.1).sum())
    among = "among them" if p <= _WEAK else "not among them"
    text = (
        f"{n_sure:,} of {_settings(r.shape[1])} are shown to earn more than nothing, at a risk of "
        f"5% that any is so by luck (Romano-Wolf StepM)"
    )
    text += f"; the winner is {among}, {_p(p)}. " if n_sure else f"; the winner's {_p(p)}. "
    text += f"A list of which 10% may be false would have {n_likely:,} (Benjamini-Yekutieli)."
    figures = {"p": p, "n_rejected": n_sure, "n_discovered": n_likely}
    return Claim(name, grade_of(p), text, figures)


def alike(evidence: Evidence, draws: Draws) -> ModelConfidenceSet | str:
    """Return which settings cannot be told from the best at 90 %, or why that is not worked out."""
    try:
        return model_confidence_set(
            evidence.returns,
            draws,
            alpha=0.1,
            # The poorest against the mean of all does not see one good setting among many.
            statistic="range" if evidence.returns.shape[1] <= MAX_PAIRED else "max",
            complete=False,
        )
    except InputError as error:
        return str(error)


def confidence_set(evidence: Evidence, found: ModelConfidenceSet | str) -> Claim:
    """Say how many settings cannot be told from the best (model confidence set at 90 %)."""
    name = "alternatives"
    n = evidence.returns.shape[1]
    if isinstance(found, str):
        return unknown(name, found, "fewer --bootstraps")
    if found.reason:
        return unknown(name, found.reason)
    kept = len(found.included)
    text = (
        f"{kept:,} of {_settings(n)} cannot be told from the best by mean profit, at a "
        f"confidence of 90% (model confidence set)"
    )
    if evidence.winner >= 0:
        inside = evidence.winner in found.included
        text += f"; the winner is {'one' if inside else 'none'} of them"
    grade = STRONG if kept <= max(0.1 * n, 1.0) else WEAK
    if n > MAX_PAIRED:
        text += "; of so many, one good one may hide among the rest"
    change = "" if grade == STRONG else "a longer record tells more of them apart"
    figures = {"n_included": kept, "share": kept / n}
    return Claim(name, grade, f"{text}.", figures, change)


def generalises(evidence: Evidence) -> Claim:
    """Say whether choosing the best generalises (combinatorially symmetric cross-validation)."""
    name = "choosing"
    found = cscv(evidence.returns, n_blocks=blocks_of(len(evidence.returns)))
    if found.reason:
        return unknown(name, found.reason)
    pbo, loss = found.pbo, found.probability_of_loss
    text = (
        f"Chosen on one half of the sessions, the setting with the best Sharpe ratio was in the "
        f"lower half on the other sessions in {percent(pbo)} of {found.n_splits:,} splits (PBO), "
        f"and lost money there in {percent(loss)}"
    )
    figures = {
        "pbo": pbo,
        "probability_of_loss": loss,
        "n_splits": found.n_splits,
    }
    if not math.isnan(found.slope):
        text += (
            f"; where the chosen one's Sharpe ratio was higher by 1, it was {_by(found.slope)} on "
            f"the other sessions"
        )
        figures["slope"] = found.slope
    # A setting that does not trade loses nothing, and is nothing to choose.
    idle = float((found.out_of_sample <= 0.0).mean())
    if idle <= _LOSS_GOOD and pbo <= _PBO_GOOD:
        grade = STRONG
    elif loss >= _HALF or (pbo >= _HALF and loss > _PBO_GOOD):
        grade = LUCK
    else:
        grade = WEAK
    text += ". A diagnostic, no test: noise gives a PBO of 50%, give or take 20."
    return Claim(name, grade, text, figures)


# -- what was not searched on ----------------------------------------------------------


def holdout(held: Held | str) -> Claim:
    """Say what the winner did on the holdout, where that was opened."""
    name = "holdout"
    if isinstance(held, str):
        return unknown(name, held)
    if held.trades == 0:
        return unknown(name, "the winner did not trade on the holdout")
    ratio = (
        ""
        if math.isnan(held.sharpe)
        else f" and a Sharpe ratio of {number(held.sharpe, 3)} by the study's clock"
    )
    if abs(held.net_profit) <= _DUST * held.capital:
        return unknown(name, "what the winner made there is nothing but rounding")
    word = "a loss" if held.net_profit < 0.0 else "a profit"
    text = (
        f"On the holdout the winner made {word} of {number(abs(held.net_profit), 4)}{ratio} in "
        f"{held.trades:,} trades"
    )
    figures: dict[str, float] = {
        "net_profit": held.net_profit,
        "trades": held.trades,
        "n_opened": held.n_opened,
    }
    if not math.isnan(held.sharpe):
        figures["sharpe"] = held.sharpe
    grade = WEAK if held.net_profit > 0.0 else LUCK
    p = _held_p(held)
    if math.isnan(p):
        text += ". One stretch of time: it can refute a winner, not prove one."
        if held.n_opened > 1:
            text += (
                f" It was opened for {held.n_opened:,} settings, so that choosing there counts too."
            )
        return Claim(name, grade, text, figures)
    assert held.returns is not None
    figures |= {"p": p, "n_sessions": len(held.returns)}
    counted = (
        f", counted {held.n_opened:,} times, once for each setting that it was opened for"
        if held.n_opened > 1
        else ""
    )
    text += f"; by its {len(held.returns):,} sessions, {_p(p)}{counted}."
    if grade == WEAK and p <= _STRONG:
        grade = STRONG
    return Claim(name, grade, text, figures)


def _held_p(held: Held) -> float:
    """Return the p-value of the holdout's sessions, by Bonferroni; NaN where they are too few."""
    if held.returns is None or len(held.returns) < FEWEST:
        return math.nan
    return min(_psr(moments(held.returns), 0.0).p * held.n_opened, 1.0)


def walked_forward(found: OutOfSample | str, per_year: float) -> Claim:
    """Say what choosing again, window after window, earned out of sample."""
    name = "walk-forward"
    if isinstance(found, str):
        return unknown(name, found)
    n = len(found.returns)
    if n < FEWEST:
        return unknown(name, f"its tests have {n} sessions; at least {FEWEST} are needed")
    own = moments(found.returns)
    if own.reason:
        return unknown(name, own.reason)
    psr = _psr(own, 0.0)
    if psr.reason:
        return unknown(name, psr.reason)
    annual, p = own.sharpe * math.sqrt(per_year), psr.p
    text = (
        f"Chosen again in each of {found.n_folds} folds and traded on what follows, choices made "
        f"{number(found.net_profit, 4)}, a Sharpe ratio of {number(annual, 3)} a year over {n:,} "
        f"sessions; {_p(p)}"
    )
    figures = {
        "p": p,
        "sharpe": annual,
        "net_profit": found.net_profit,
        "n_folds": found.n_folds,
    }
    if not math.isnan(found.rank):
        text += f"; there they beat {percent(found.rank)} of the settings (luck: 50%)"
        figures["rank"] = found.rank
    if not math.isnan(found.efficiency):
        text += f"; efficiency {number(found.efficiency, 2)}, a ratio of two noisy rates"
        figures["efficiency"] = found.efficiency
    return Claim(name, grade_of(p), f"{text}.", figures)
