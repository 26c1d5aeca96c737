"""Statistics on arrays: bootstraps, intervals, tests, metrics of rows, overfitting.

Nothing here knows strategies or studies. A statistic that its data cannot support is NaN with a
reason.
"""
