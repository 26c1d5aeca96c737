"""Simulated markets with known truth: processes, their calibration, and paths of them."""
