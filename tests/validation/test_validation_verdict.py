"""The verdict: what is said at known truths, and what is not said where data are short."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.cells import cell_len
from scipy import stats
from validation_helpers import made, of_returns

from sweep.errors import InputError
from sweep.report.table import json_text
from sweep.report.terminal import lines_of
from sweep.stats.overfit import expected_maximum, moments, probabilistic_sharpe_ratio
from sweep.validation import claims
from sweep.validation.evidence import (
    GRADES,
    LUCK,
    STRONG,
    UNKNOWN,
    WEAK,
    Evidence,
    Held,
    OutOfSample,
    Settings,
    Verdict,
)
from sweep.validation.report.document import verdict_parts
from sweep.validation.report.text import claims_table
from sweep.validation.verdict import verdict

FEW = Settings(n_bootstrap=200)
SENTENCES = Path(__file__).parents[1] / "data" / "verdict-sentences.json"


def by_name(found: Verdict) -> dict[str, Any]:
    return {claim.name: claim for claim in found.claims}


# -- known truths ----------------------------------------------------------------------


def test_noise_is_called_luck() -> None:
    found = verdict(made(1), FEW)
    assert found.grade == LUCK
    assert by_name(found)["best of all"].grade == LUCK
    assert by_name(found)["best of all"].figures["p"] > 0.05


def test_a_planted_strong_edge_is_called_strong() -> None:
    found = verdict(made(1, edge=0.45), FEW)
    assert found.grade == STRONG
    assert {by_name(found)[n].grade for n in ("record", "number tried", "best of all")} == {STRONG}
    assert by_name(found)["which settings"].grade == STRONG


def test_a_few_good_settings_among_noise_are_not_strong_where_their_spread_may_be_luck() -> None:
    """The deflated Sharpe ratio of 2014 takes the spread for luck, and holds the grade down."""
    found = verdict(made(1, edge=0.45, share=0.25), FEW)
    luck = by_name(found)["number tried"]
    assert (found.grade, luck.grade) == (WEAK, WEAK)
    assert luck.figures["p"] <= 0.01 < 0.05 < 1.0 - luck.figures["deflated_sharpe_ratio_effective"]
    assert "differences that may be real and luck alike" in luck.sentence


def test_one_good_setting_among_many_is_told_from_the_rest() -> None:
    rng = np.random.default_rng(3)
    returns = rng.normal(size=(60, 40))
    returns[:, 7] += 2.0
    evidence = replace(made(1, sessions=60), returns=returns, winner=7)
    found = by_name(verdict(evidence, FEW))["alternatives"]
    assert found.figures["n_included"] == 1.0
    assert found.grade == STRONG


def test_choosing_a_setting_that_never_trades_is_not_strong() -> None:
    returns = np.random.default_rng(3).normal(-0.5, 1.0, (60, 8))
    returns[:, 3] = 0.0
    evidence = replace(made(1, sessions=60, variants=8), returns=returns, winner=3)
    assert by_name(verdict(evidence, FEW))["choosing"].grade != STRONG


@pytest.mark.parametrize(("p", "said"), [(0.0504, "p = 0.0504"), (0.05, "p = 0.05")])
def test_a_p_value_beside_a_limit_shows_its_side(p: float, said: str) -> None:
    assert claims._p(p) == said


#: What each search is said to be, by the truth that was planted.
TRUTHS: dict[str, Evidence] = {
    "noise": made(3, tried=10_000),
    "all settings good": made(1, edge=0.45),
    "some settings good, held out": made(
        1,
        edge=0.45,
        share=0.25,
        held=Held(12.5, 1.25, 34, 3),
        out_of_sample=OutOfSample(made(7, edge=0.2, variants=1).returns[:, 0], 3.75, 5, 0.81, 0.62),
    ),
    "too short": made(1, sessions=12),
}


@pytest.mark.parametrize("name", TRUTHS)
def test_sentences(name: str) -> None:
    found = verdict(TRUTHS[name], FEW)
    said = {"overall": found.sentence, **{c.name: c.sentence for c in found.claims}}
    assert said == json.loads(SENTENCES.read_text(encoding="utf-8"))[name]


def test_the_sentence_on_luck_says_what_its_formula_gives() -> None:
    """All of it again, from the paper's formulas, with the spread of luck alone."""
    evidence = made(5, tried=500)
    found = by_name(verdict(evidence, FEW))["number tried"]
    r = evidence.returns
    n = len(r)
    ratios = r.mean(axis=0) / r.std(axis=0, ddof=1)
    spread = min(float(ratios.var(ddof=1)), 1.0 / (n - 1))
    best = expected_maximum(500.0, variance=spread)
    own = moments(r[:, evidence.winner])
    psr = probabilistic_sharpe_ratio(
        own.sharpe, n, benchmark=best, skew=own.skew, kurtosis=own.kurtosis
    )
    assert found.figures["sharpe_of_luck"] == pytest.approx(best * math.sqrt(252.0), rel=1e-12)
    assert found.figures["p"] == pytest.approx(1.0 - psr.value, rel=1e-9)
    assert f"{best * math.sqrt(252.0):.2g} a year" in found.sentence


def test_the_record_that_would_do_would_do() -> None:
    """A record of the length named, of the same moments, has a p-value of 0.05."""
    evidence = made(6, tried=200)
    found = by_name(verdict(evidence, FEW))["number tried"]
    needed = int(found.change.split("over ")[1].split()[0].replace(",", ""))
    own = moments(evidence.returns[:, evidence.winner])
    threshold = found.figures["sharpe_of_luck"] / math.sqrt(252.0) * math.sqrt(120 / needed)
    error = math.sqrt(1.0 - own.skew * own.sharpe + (own.kurtosis - 1.0) / 4.0 * own.sharpe**2)
    p = float(stats.norm.sf((own.sharpe - threshold) * math.sqrt(needed - 1) / error))
    assert p == pytest.approx(0.05, abs=0.002)


# -- what cannot be said ---------------------------------------------------------------


def test_too_few_sessions_give_reasons_and_no_number() -> None:
    found = verdict(made(1, sessions=29, edge=3.0), FEW)
    assert found.grade == UNKNOWN
    assert found.sentence == (
        "Cannot be said, because there are 29 sessions; at least 30 are needed."
    )
    for claim in found.claims:
        assert claim.grade == UNKNOWN
        assert claim.sentence.startswith("Cannot be said, because ")
        assert claim.figures == {}
    assert by_name(found)["number tried"].change == "1 more session"


def test_one_setting_was_not_selected() -> None:
    found = verdict(made(2, variants=1, edge=0.6), FEW)
    said = by_name(found)
    for name in ("number tried", "which settings", "alternatives", "choosing"):
        assert said[name].grade == UNKNOWN, name
        assert said[name].figures == {}
    assert found.grade == STRONG
    assert "the one that was tried" in said["best of all"].sentence


def test_identical_settings_are_one() -> None:
    r = made(1, variants=1, edge=0.1).returns
    found = verdict(of_returns(np.repeat(r, 20, axis=1)), FEW)
    said = by_name(found)
    assert said["choosing"].sentence.startswith("Cannot be said, because 1 distinct")
    assert said["alternatives"].grade == UNKNOWN
    assert said["number tried"].figures["sharpe_of_luck"] == 0.0
    assert found.grade in (WEAK, LUCK)


def test_settings_that_did_not_trade_are_no_evidence() -> None:
    r = np.zeros((60, 5))
    found = verdict(of_returns(r), FEW)
    assert found.grade == UNKNOWN
    assert "no variance" in found.sentence
    assert "NaN" not in json_text(found)
    mixed = made(1, edge=0.45).returns.copy()
    mixed[:, 5:9] = 0.0
    assert verdict(of_returns(mixed), FEW).grade == STRONG


def test_a_winner_without_session_returns_has_no_verdict() -> None:
    found = verdict(replace(made(1, edge=0.6), winner=-1), FEW)
    assert found.grade == UNKNOWN
    assert "the best trial has no session returns" in found.sentence
    assert found.trial == -1


def test_no_variant_at_all() -> None:
    empty = Evidence(np.empty((60, 0)), np.empty(0, np.int64), -1, 4, 252.0)
    found = verdict(empty, FEW)
    assert found.sentence == "Cannot be said, because no variant has session returns."
    found = verdict(replace(empty, missing="its ticks are gone"), FEW)
    assert found.sentence == "Cannot be said, because its ticks are gone."


# -- never strong where something says luck --------------------------------------------

REFUTED: list[tuple[str, dict[str, Any]]] = [
    ("holdout", {"held": Held(-5.0, -1.0, 12, 1)}),
    (
        "walk-forward",
        {"out_of_sample": OutOfSample(np.tile([0.01, -0.01], 40), 0.0, 5, 0.5, math.nan)},
    ),
]


@pytest.mark.parametrize(("name", "more"), REFUTED, ids=[name for name, _ in REFUTED])
def test_what_was_held_out_refutes(name: str, more: dict[str, Any]) -> None:
    strong = made(1, edge=0.45)
    assert verdict(strong, FEW).grade == STRONG
    found = verdict(replace(strong, **more), FEW)
    assert by_name(found)[name].grade == LUCK
    assert found.grade == WEAK
    assert found.sentence.endswith(f": luck, says {name}.")


def test_many_evaluations_without_session_returns_are_not_strong() -> None:
    found = verdict(made(1, edge=0.6, tried=100), FEW)
    assert found.grade == WEAK
    assert any("while the search evaluated 100" in note for note in found.notes)
    of_folds = verdict(replace(made(1, edge=0.6, tried=100), n_own=40), FEW)
    assert of_folds.grade == STRONG  # what folds evaluated did not choose the winner
    assert by_name(of_folds)["number tried"].figures["n_tried"] == 100.0


def test_what_folds_tried_is_said_and_changes_no_test() -> None:
    """Looking at more splits cannot make a winner worse, nor be forgotten."""
    plain = made(1, edge=0.3, share=0.25)
    before = verdict(plain, FEW)
    after = verdict(replace(plain, n_evaluations=1_240, n_in_folds=1_200), FEW)
    assert (after.grade, after.sentence) == (before.grade, before.sentence)
    assert (after.n_evaluations, after.n_in_folds) == (1_240, 1_200)
    one, two = by_name(before)["number tried"], by_name(after)["number tried"]
    assert two.figures["n_tried"] == one.figures["n_tried"] == 40
    assert two.figures["p"] == one.figures["p"] < two.figures["p_with_folds"]
    assert "Searches in folds tried 1,200 more" in two.sentence
    assert two.sentence.startswith(one.sentence)
    counted = verdict(replace(plain, n_evaluations=1_240), FEW)
    assert by_name(counted)["number tried"].figures["p"] == two.figures["p_with_folds"]
    with pytest.raises(InputError, match="39 evaluations are fewer than 40"):
        replace(plain, n_in_folds=1)


def test_each_setting_stands_where_the_tests_put_it() -> None:
    evidence = made(1, edge=0.45, share=0.25)
    found = verdict(evidence, FEW)
    stands = found.standings
    assert stands is not None
    order = stands.order()
    assert sorted(order.tolist()) == list(range(40))
    p = stands.p[order]
    assert (np.diff(p) >= 0.0).all()
    said = by_name(found)
    assert (p <= 0.05).sum() == said["which settings"].figures["n_rejected"] > 0
    assert stands.alike.sum() == said["alternatives"].figures["n_included"]
    assert stands.p[evidence.winner] == said["which settings"].figures["p"]
    annual = evidence.returns.mean(axis=0) / evidence.returns.std(axis=0, ddof=1)
    np.testing.assert_allclose(stands.sharpe, annual * math.sqrt(evidence.per_year))
    assert stands.sharpe[evidence.winner] == pytest.approx(said["record"].figures["sharpe"])
    assert verdict(made(1, sessions=12), FEW).standings is None


def test_a_long_holdout_is_a_test_of_its_own() -> None:
    returns = np.random.default_rng(8).normal(0.8, 1.0, 40)
    held = Held(5.0, 2.0, 60, 1, returns=returns)
    own = moments(returns)
    p = 1.0 - probabilistic_sharpe_ratio(own.sharpe, 40, skew=own.skew, kurtosis=own.kurtosis).value
    claim = by_name(verdict(replace(made(1), held=held), FEW))["holdout"]
    assert claim.grade == STRONG
    assert claim.figures["p"] == pytest.approx(p, rel=1e-6)
    assert "; by its 40 sessions, p < 0.001." in claim.sentence
    many = by_name(verdict(replace(made(1), held=replace(held, n_opened=50)), FEW))["holdout"]
    assert many.figures["p"] == pytest.approx(min(50 * p, 1.0), rel=1e-6)
    # Fewer sessions, or a loss, are what they were.
    short = replace(held, returns=returns[:29])
    claim = by_name(verdict(replace(made(1), held=short), FEW))["holdout"]
    assert (claim.grade, "p" in claim.figures) == (WEAK, False)
    lost = replace(held, net_profit=-5.0, returns=-returns)
    assert by_name(verdict(replace(made(1), held=lost), FEW))["holdout"].grade == LUCK


def test_a_profit_that_is_rounding_is_none() -> None:
    held = Held(-4e-14, 0.07, 12, 1, capital=1_300.0)
    claim = by_name(verdict(replace(made(1), held=held), FEW))["holdout"]
    assert claim.grade == UNKNOWN
    assert "nothing but rounding" in claim.sentence


def test_the_grade_is_never_better_than_what_decides() -> None:
    order = {grade: k for k, grade in enumerate(GRADES)}
    for seed in range(12):
        found = verdict(made(seed, edge=0.05 * seed, variants=12, sessions=60), FEW)
        said = by_name(found)
        worst = max(order[said[n].grade] for n in ("record", "best of all", "which settings"))
        assert order[found.grade] >= worst


def test_a_holdout_says_what_it_can() -> None:
    strong = made(1, edge=0.45)
    said = [
        by_name(verdict(replace(strong, held=held), FEW))["holdout"]
        for held in ("it was not opened", Held(3.0, 1.5, 0, 1), Held(3.0, 1.5, 7, 4))
    ]
    assert [c.grade for c in said] == [UNKNOWN, UNKNOWN, WEAK]
    assert "opened for 4 settings" in said[2].sentence


def test_a_short_walk_forward_cannot_be_said() -> None:
    short = OutOfSample(np.full(10, 0.01), 1.0, 3, 0.9, 2.0)
    found = by_name(verdict(replace(made(1), out_of_sample=short), FEW))["walk-forward"]
    assert "its tests have 10 sessions" in found.sentence
    assert found.figures == {}


# -- sameness and settings -------------------------------------------------------------


def test_a_verdict_repeats_to_the_bit() -> None:
    first, second = (verdict(made(4), FEW) for _ in range(2))
    assert json_text(first) == json_text(second)
    other = verdict(made(4), replace(FEW, seed=1))
    assert other.claims[2].figures != first.claims[2].figures


def test_wrong_settings_are_refused() -> None:
    for wrong in ({"n_bootstrap": 99}, {"block": 0.5}, {"seed": -1}):
        with pytest.raises(InputError):
            Settings(**wrong)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="longer than the data"):
        verdict(made(1, sessions=40), Settings(n_bootstrap=100, block=41.0))


@pytest.mark.parametrize(
    "wrong",
    [{"numbers": np.arange(3)}, {"winner": 40}, {"n_evaluations": 3}, {"per_year": 0.0}],
    ids=lambda w: next(iter(w)),
)
def test_evidence_that_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(made(1), **wrong)


# -- shown -----------------------------------------------------------------------------


@pytest.mark.parametrize("width", [30, 60, 100])
def test_lines_fit_the_width(width: int) -> None:
    for evidence in (made(1), made(1, edge=0.45, share=0.25), made(1, sessions=10)):
        lines = lines_of(verdict_parts(verdict(evidence, FEW)), width)
        assert max(cell_len(line.plain) for line in lines) <= width


def test_claims_that_lack_the_same_data_are_said_at_once() -> None:
    parts = verdict_parts(verdict(made(1, sessions=10), FEW))
    lines = [line.plain for line in lines_of(parts, 100)]
    assert sum("there are 10 sessions" in line for line in lines) == 2  # the line above, and once
    assert any(line.startswith("record, number tried, best of all,") for line in lines)


def test_json_has_no_nan_and_the_table_every_claim() -> None:
    found = verdict(made(1, sessions=20), FEW)
    loaded = json.loads(json_text(found))
    assert loaded["grade"] == UNKNOWN
    assert loaded["block_length"] is None
    table = claims_table(found)
    assert [row[0] for row in table.rows] == ["overall", *(c.name for c in found.claims)]


# -- error rates -----------------------------------------------------------------------

NOISE = [
    {"sessions": 250, "variants": 100},
    {"sessions": 250, "variants": 100, "likeness": 0.95},
    {"sessions": 100, "variants": 100, "tails": True},
    {"sessions": 60, "variants": 200, "likeness": 0.9, "tails": True},
]


@pytest.mark.slow
@pytest.mark.parametrize("kind", NOISE, ids=lambda k: "-".join(map(str, k.values())))
def test_noise_is_called_luck_at_the_nominal_rate(kind: dict[str, Any]) -> None:
    """At least 95 % luck and at most 1 % strong, within two errors of 200 seeded searches.

    Measured, with 200 resamples: strong 0 of 200 in all four; luck 192 and 192 of 200 with 250
    sessions, 199 with 100 sessions of fat tails, 200 with 60 sessions of fat tails and 200
    settings; the rest weak.
    """
    grades = [verdict(made(seed, **kind), replace(FEW, seed=seed)).grade for seed in range(200)]
    assert grades.count(STRONG) <= 2 + 3
    assert grades.count(LUCK) >= 190 - 6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edge", "share", "found", "strong"),
    [(0.1, 1.0, 130, 4), (0.2, 1.0, 196, 158), (0.3, 1.0, 199, 196), (0.3, 0.3, 196, 145)],
)
def test_a_planted_edge_is_found(edge: float, share: float, found: int, strong: int) -> None:
    """Of 100 settings over 250 sessions, neighbours alike at 0.9, a share with one edge.

    Measured, with 200 resamples: strong 13, weak 134 and luck 53 of 200 at an edge of 0.1
    standard deviations a session (an annual Sharpe ratio of 1.6); strong 170, weak 30 at 0.2
    (3.2); strong 200 at 0.3 (4.8). With 30 of the 100 settings at 0.3 and the rest at 0, strong
    161 and weak 39: the spread of ratios may be luck.
    """
    grades = [
        verdict(
            made(seed, sessions=250, variants=100, likeness=0.9, edge=edge, share=share),
            replace(FEW, seed=seed),
        ).grade
        for seed in range(200)
    ]
    assert grades.count(STRONG) + grades.count(WEAK) >= found
    assert grades.count(STRONG) >= strong
