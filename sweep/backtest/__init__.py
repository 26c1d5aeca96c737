"""Evaluation of variants on ticks: tasks, replay, one pass over a source, checks of a strategy.

What workers run lives here, with the records that go in and out. Compiled code is `sweep.kernel`;
which variants are evaluated, and in what order, is `sweep.study`.
"""
