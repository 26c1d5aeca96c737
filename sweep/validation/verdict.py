"""The verdict on a winner: every claim that the data permit, and the line they come to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sweep.stats.bootstrap import optimal_block_length
from sweep.stats.overfit import Draws, ModelConfidenceSet, StepM, session_draws, sharpe_ratios
from sweep.text import counted
from sweep.validation import claims
from sweep.validation.evidence import (
    LUCK,
    STRONG,
    UNKNOWN,
    WEAK,
    Claim,
    Evidence,
    Settings,
    Standings,
    Verdict,
)

__all__ = ["block_length", "verdict"]

#: Claims whose poorest grade is the verdict's: the winner alone, and the two tests that pay
#: for the search with its own session returns.
_DECIDE = ("record", "best of all", "which settings")
#: All that the search's session returns are tested for.
_TESTED = ("record", "number tried", *_DECIDE[1:], "best in cash", "alternatives", "choosing")
#: Without these and at least as good, nothing is strong. The deflated Sharpe ratio knows the
#: number of settings alone, and not their dependence: it is too strict to say luck by itself.
_DOUBT = ("number tried",)
#: Claims that turn strong into weak where they say luck.
_REFUTE = ("best in cash", "choosing", "holdout", "walk-forward")

_WORDS = {
    STRONG: "Strong: luck alone hardly explains the winner, by the tests that decide.",
    WEAK: "Weak: there may be something in the winner, and it is not beyond doubt",
    LUCK: "Luck: a search like this finds a winner like this where there is nothing to be found",
    UNKNOWN: "Cannot be said, because",
}

_BLIND = (
    "none of these tests sees look-ahead: a rule that knows the future passes them all; "
    "sweep check tests for it"
)
_FUTURE = "the strategy looks ahead, so that no figure of it means anything"


def verdict(
    evidence: Evidence,
    settings: Settings | None = None,
    *,
    progress: Callable[[str], None] | None = None,
) -> Verdict:
    """Return what can be said of the winner of a search.

    Parameters
    ----------
    evidence : Evidence
    settings : Settings, optional
    progress : callable, optional
        ``progress(what)`` before each part.

    Returns
    -------
    Verdict
        Depends on the evidence and the settings alone. Conservative: as poor as the poorest
        of its deciding claims, and not strong where any test that pays for the search, or
        what was held out, says luck.

    Raises
    ------
    InputError
        If a return is not finite, or the blocks are longer than the record.
    """
    settings = settings or Settings()
    say = progress or _silent
    n, variants = evidence.returns.shape
    outside = (
        claims.holdout(evidence.held),
        claims.walked_forward(evidence.out_of_sample, evidence.per_year),
    )
    if evidence.looks_ahead:
        names = (*_TESTED, "holdout", "walk-forward")
        nothing = tuple(claims.unknown(name, "the strategy looks ahead") for name in names)
        return _made(evidence, nothing, math.nan, settings)
    if n < claims.FEWEST or not variants:
        there = f"there {'is' if n == 1 else 'are'} {counted(n, 'session')}"
        few = f"{there}; at least {claims.FEWEST} are needed"
        reason = few if variants else evidence.missing or "no variant has session returns"
        more = claims.FEWEST - n
        change = counted(more, "more session") if variants else ""
        said = (*(claims.unknown(name, reason, change) for name in _TESTED), *outside)
        return _made(evidence, said, math.nan, settings)

    # Sums over columns depend on their layout; rows make it one.
    evidence = replace(evidence, returns=np.ascontiguousarray(evidence.returns, np.float64))
    length = block_length(evidence) if settings.block is None else settings.block
    say("drawing sessions")
    drawn = [_draws(n, part, settings) for part in _lengths(length, n)]
    said_list: list[Claim] = []
    say("StepM")
    better = claims.stepped(evidence, drawn[0])
    say("model confidence set")
    near = claims.alike(evidence, drawn[0])
    parts: tuple[tuple[str, Callable[[], Claim]], ...] = (
        ("the winner alone", lambda: claims.record(evidence)),
        ("deflated Sharpe ratio", lambda: claims.deflated(evidence)),
        ("Hansen's SPA", lambda: claims.superior(evidence, tuple(drawn))),
        ("false discoveries", lambda: claims.which(evidence, drawn[0], better)),
        ("Reality Check", lambda: claims.unweighted(evidence, drawn[0])),
        ("alternatives", lambda: claims.confidence_set(evidence, near)),
        ("cross-validation", lambda: claims.generalises(evidence)),
    )
    for what, part in parts:
        say(what)
        said_list.append(part())
    made = _made(evidence, (*said_list, *outside), length, settings)
    return replace(made, standings=_standings(evidence, better, near))


def _standings(evidence: Evidence, better: StepM, near: ModelConfidenceSet | str) -> Standings:
    n = evidence.returns.shape[1]
    alike = None
    if not isinstance(near, str) and not near.reason:
        alike = np.zeros(n, bool)
        alike[near.included] = True
    return Standings(
        numbers=evidence.numbers,
        sharpe=sharpe_ratios(evidence.returns) * math.sqrt(evidence.per_year),
        p=np.full(n, np.nan) if better.reason else better.p_values,
        alike=alike,
    )


def block_length(evidence: Evidence) -> float:
    """Return the mean block length for the resamples, in sessions.

    That of Politis & White for the winner's returns, at most a third of the record; 1 without
    a winner.
    """
    if evidence.winner < 0:
        return 1.0
    own = np.ascontiguousarray(evidence.returns[:, evidence.winner], np.float64)
    return min(optimal_block_length(own).stationary, len(own) / 3.0)


def _lengths(length: float, n: int) -> list[float]:
    """Return the block length, then half and twice of it."""
    return list(dict.fromkeys([length, max(length / 2.0, 1.0), min(2.0 * length, float(n))]))


def _draws(n: int, length: float, settings: Settings) -> Draws:
    return session_draws(
        n, block_length=length, n_bootstrap=settings.n_bootstrap, seed=settings.seed
    )


def _silent(what: str) -> None:
    pass


def _made(
    evidence: Evidence, said: tuple[Claim, ...], length: float, settings: Settings
) -> Verdict:
    n, variants = evidence.returns.shape
    grade, sentence = _overall(said, evidence)
    notes = [*evidence.notes, *((_BLIND,) if evidence.looks_ahead is None else ())]
    if variants < _searched(evidence) and grade != UNKNOWN:
        notes.insert(
            0,
            f"whole session returns are there of {variants:,} variants, while the search evaluated "
            f"{_searched(evidence):,}: resampled tests pay for the former alone",
        )
    return Verdict(
        grade=grade,
        sentence=sentence,
        claims=said,
        notes=tuple(notes),
        trial=int(evidence.numbers[evidence.winner]) if evidence.winner >= 0 else -1,
        n_sessions=n,
        n_variants=variants,
        n_evaluations=evidence.n_evaluations,
        block_length=length,
        settings=settings,
        n_in_folds=evidence.n_in_folds,
    )


def _overall(said: tuple[Claim, ...], evidence: Evidence) -> tuple[str, str]:
    if evidence.looks_ahead:
        return UNKNOWN, f"{_WORDS[UNKNOWN]} {_FUTURE}: {evidence.looks_ahead}."
    by_name = {claim.name: claim for claim in said}
    variants, tried = evidence.returns.shape[1], evidence.n_tried
    decisive = [by_name[name] for name in _DECIDE if variants != 1 or name != "which settings"]
    lucky = [c for c in decisive if c.grade == LUCK]
    if lucky:
        return LUCK, f"{_WORDS[LUCK]}; see: {_names(lucky)}."
    untold = [c for c in decisive if c.grade == UNKNOWN]
    if untold:
        return UNKNOWN, _WORDS[UNKNOWN] + untold[0].sentence.partition("because")[2]
    doubts = [c for c in decisive if c.grade == WEAK]
    doubts += [by_name[n] for n in _DOUBT if by_name[n].grade != STRONG and tried > 1]
    doubts += [by_name[n] for n in _REFUTE if by_name[n].grade == LUCK]
    if doubts:
        return WEAK, f"{_WORDS[WEAK]}{_doubts(doubts)}."
    if 2 * variants < _searched(evidence):
        return WEAK, f"{_WORDS[WEAK]}: most of what was tried has no session returns."
    return STRONG, _WORDS[STRONG]


def _searched(evidence: Evidence) -> int:
    return evidence.n_own or evidence.n_tried


def _doubts(found: list[Claim]) -> str:
    """Return which claims doubt, those that say luck first."""
    lucky = [c for c in found if c.grade == LUCK]
    rest = [c for c in found if c.grade != LUCK]
    said = f": luck, says {_names(lucky)}" if lucky else ""
    return said + (f"; see: {_names(rest)}" if rest else "")


def _names(found: list[Claim]) -> str:
    return ", ".join(c.name for c in found)
