"""Measurements that need more than Sweep, or hours; the others are `sweep bench`."""
