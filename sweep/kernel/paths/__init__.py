"""Kernels whose lanes each have ticks of their own: one resampled path in each lane.

Their frame, core, loop and build. Kernels on one series that all lanes share are the modules of
`sweep.kernel` itself.
"""
