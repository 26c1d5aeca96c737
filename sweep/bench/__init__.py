"""Benchmarks: what Sweep costs, measured on the user's own machine and ticks."""
