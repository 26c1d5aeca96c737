"""Simulated markets with known truth: processes, their reference laws, their calibration."""
