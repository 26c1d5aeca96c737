"""Resampled paths of ticks: what is drawn, and the plan of a path.

::

    sessions (where they begin and end, which are alike)
    spec (what a user asks for) -> plan (a series made ready; the pieces of a path)
                                     -> ticks (any part of a path, written out)
                                     -> schedule (many paths, in an order that suits kernels)
"""
