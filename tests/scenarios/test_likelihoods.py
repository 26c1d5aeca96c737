"""Likelihoods of the simulated processes, and statistics of fits, against slow oracles."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from sweep.scenarios.simulate import likelihoods
from sweep.scenarios.simulate.calibrate import Check, compare, statistics
from sweep.scenarios.simulate.observe import Observed, observe
from sweep.scenarios.simulate.processes import Gbm
from sweep.scenarios.simulate.simulate import simulate
from sweep.scenarios.simulate.spec import PathSpec, Quotes, Regular, Session
from sweep.ticks.quality import concatenate

SECOND = 1_000_000_000
QUOTES = Quotes(1_000.0, 0.01, (1, 2, 5), (3.0, 1.0, 1.0), 0.7)


def test_the_likelihood_of_merton() -> None:
    x = np.random.default_rng(1).normal(size=40)
    args = (0.1, 0.5, 0.7, -0.2, 0.9)
    mean, var, lam, jm, jv = args
    density = sum(
        stats.poisson.pmf(n, lam) * stats.norm.pdf(x, mean + n * jm, math.sqrt(var + n * jv))
        for n in range(40)
    )
    assert likelihoods.merton(x, *args) == pytest.approx(float(np.log(density).sum()), rel=1e-9)
    assert likelihoods.merton.py_func(x, *args) == pytest.approx(likelihoods.merton(x, *args))


def test_the_likelihood_of_garch() -> None:
    x = np.random.default_rng(2).normal(size=30)
    first = np.zeros(30, bool)
    first[[0, 12]] = True
    mean, var, alpha, beta, nu, gap = 0.05, 1.3, 0.1, 0.8, 5.0, 7
    s2, total = var, 0.0
    for i in range(30):
        if i == 12:
            for _ in range(gap):  # step by step towards the mean
                s2 = (1 - alpha - beta) * var + (alpha + beta) * s2
        scale = math.sqrt(s2 * (nu - 2) / nu)
        total += stats.t.logpdf(x[i], nu, mean, scale)
        s2 = (1 - alpha - beta) * var + alpha * (x[i] - mean) ** 2 + beta * s2
    args = (x, first, gap, mean, var, alpha, beta, nu)
    assert likelihoods.garch(*args) == pytest.approx(total, rel=1e-12)
    assert likelihoods.garch.py_func(*args) == pytest.approx(total, rel=1e-12)


def test_the_likelihood_and_the_smoother_of_regimes_by_writing_out_every_history() -> None:
    draw = np.random.default_rng(3)
    n, k, gap = 7, 2, 3
    x = draw.normal(size=n)
    first = np.zeros(n, bool)
    first[[0, 4]] = True
    move = np.array([[0.9, 0.1], [0.3, 0.7]])
    over, start = np.linalg.matrix_power(move, 1 + gap), np.array([0.75, 0.25])
    means, variances = [0.1, -0.2], [0.5, 2.0]
    total, share, moves = 0.0, np.zeros((n, k)), np.zeros((k, k))
    for states in itertools.product(range(k), repeat=n):
        p = start[states[0]]
        for i, s in enumerate(states):
            if i:
                p *= (over if first[i] else move)[states[i - 1], s]
            p *= stats.norm.pdf(x[i], means[s], math.sqrt(variances[s]))
        total += p
        share[np.arange(n), states] += p
        for i in range(1, n):
            moves[states[i - 1], states[i]] += p * (not first[i])
    for suffix in ("", "py"):
        run = [
            getattr(f, "py_func", f) if suffix else f
            for f in (likelihoods.regimes, likelihoods.smoothed)
        ]
        filtered = np.empty((n, k))
        density = likelihoods.densities(x, means, variances)
        value = run[0](density, first, move, over, start, filtered)
        assert value == pytest.approx(math.log(total), rel=1e-12)
        got_share, got_moves = run[1](filtered, first, move, over)
        assert got_share == pytest.approx(share / total, rel=1e-10)
        assert got_moves == pytest.approx(moves / total, rel=1e-10)


def test_the_likelihood_of_hawkes() -> None:
    """Oracle: intensities as sums over all arrivals before, their integral by quadrature."""
    draw = np.random.default_rng(4)
    sessions = [np.sort(draw.random(12) * 9.0), np.sort(draw.random(5) * 4.0)]
    lengths = np.array([10.0, 4.0])
    mu, n, decay = 0.7, 0.4, 1.5

    def intensity(t: float, times: Any) -> float:
        before = times[times < t]
        start = (mu / (1 - n) - mu) * math.exp(-decay * t)
        return float(mu + start + n * decay * np.exp(-decay * (t - before)).sum())

    total = 0.0
    for times, length in zip(sessions, lengths.tolist(), strict=True):
        total += sum(math.log(intensity(float(t), times)) for t in times)
        edges = [0.0, *times.tolist(), length]
        total -= sum(
            integrate.quad(intensity, a, b, args=(times,))[0] for a, b in itertools.pairwise(edges)
        )
    args = (np.concatenate(sessions), np.array([12, 17]), lengths, mu, n, decay)
    assert likelihoods.hawkes(*args) == pytest.approx(total, rel=1e-9)
    assert likelihoods.hawkes.py_func(*args) == pytest.approx(total, rel=1e-9)


# -- statistics of a fit ---------------------------------------------------------------


def observed(**changed: Any) -> Observed:
    session = Session(sessions=1, hours=1.0)
    whole = concatenate(list(simulate(PathSpec(Gbm(), Regular(10.0), session, QUOTES))))
    return replace(
        observe(whole["ts"], whole["bid"], whole["ask"], session, 60 * SECOND, 0.01), **changed
    )


def test_statistics_are_what_their_names_say() -> None:
    draw = np.random.default_rng(7)
    returns = (draw.normal(size=70), draw.normal(size=80))
    times = (np.sort(draw.random(200) * 100.5), np.sort(draw.random(50) * 60.0))
    spread = draw.integers(1, 9, 250)
    found = statistics(
        observed(
            returns=returns,
            hours=(np.repeat([0, 1], 35), np.repeat([0, 1], 40)),
            times=times,
            lengths=np.array([100.5, 60.0]),
            spreads=spread,
        )
    )
    pooled = np.concatenate(returns)
    assert found["return kurtosis"] == pytest.approx(stats.kurtosis(pooled, fisher=False))
    centred = [r - pooled.mean() for r in returns]
    pairs = [a * b for c in centred for a, b in zip(c[:-2], c[2:], strict=True)]
    assert found["acf of returns, lag 2"] == pytest.approx(np.mean(pairs) / pooled.var())
    squares = [c**2 - pooled.var() for c in centred]
    pairs = [a * b for s in squares for a, b in zip(s[:-10], s[10:], strict=True)]
    var = np.var(np.concatenate(squares))
    assert found["acf of squares, lag 10"] == pytest.approx(np.mean(pairs) / var)
    early = np.abs(np.concatenate([returns[0][:35], returns[1][:40]])).mean()
    late = np.abs(np.concatenate([returns[0][35:], returns[1][40:]])).mean()
    assert found["season"] == pytest.approx(max(early, late) / min(early, late))
    counts = np.concatenate(
        [np.histogram(times[0], np.arange(101))[0], np.histogram(times[1], np.arange(61))[0]]
    )
    assert found["fano, 1 s"] == pytest.approx(counts.var() / counts.mean())
    assert found["spread 95 %"] == np.quantile(spread, 0.95)
    assert math.isnan(found["fano, 600 s"])  # no window is whole
    assert found["acf of squares, lag 60"] != 0.0


def test_a_statistic_without_data_is_undefined_and_said_to_be() -> None:
    one = observed(returns=(np.zeros(3),), hours=(np.zeros(3, np.int64),))
    found = {check.name: check for check in compare(one, [one, one])}
    assert math.isnan(found["return kurtosis"].data)
    assert found["return kurtosis"].inside is None
    assert found["spread mean"].inside is True
    assert Check("x", 2.0, 0.0, 0.5, 1.0).inside is False
