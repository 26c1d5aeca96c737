"""What trials return in each session, from the equity at the ends of slices and sessions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sweep.schema import FloatArray1D, FloatArray2D, Slice
from sweep.ticks.sessions import Cell, cells_of, earned_in_cells, session_sums

__all__ = ["SessionAccount"]


class SessionAccount:
    """The cells of a study's slices, and what trials earned in them.

    Parameters
    ----------
    slices : sequence of Slice
        In the order of time.
    edges : tuple of int
        Of the sessions; none where their returns are not kept.
    carry_over : bool
    capital : float
    """

    def __init__(
        self, slices: Sequence[Slice], edges: tuple[int, ...], *, carry_over: bool, capital: float
    ) -> None:
        self._n_sessions = len(edges) - 1
        self._carry_over, self._capital = carry_over, capital
        #: By place of the slice; paths, which are no stretches of the ticks, have none.
        self.cells: list[list[Cell]] = [[] for _ in slices]
        for cell in cells_of(slices, edges) if edges else ():
            self.cells[cell.place].append(cell)

    def earned(
        self, equity: FloatArray2D, places: Sequence[int], before: FloatArray1D
    ) -> FloatArray2D:
        """Return what variants earned in each cell of the slices at some places.

        Parameters
        ----------
        equity : ndarray of shape (n_variants, n_cells), float64
            At the end of each cell.
        places : sequence of int
        before : ndarray of shape (n_variants,), float64
            See `sweep.ticks.sessions.earned_in_cells`.
        """
        cells = [cell for place in places for cell in self.cells[place]]
        return earned_in_cells(equity, cells, before, carry_over=self._carry_over)

    def returns(self, earned: FloatArray2D, places: Sequence[int]) -> NDArray[np.float32]:
        """Return what variants returned in each session, on the capital.

        Parameters
        ----------
        earned : ndarray of shape (n_variants, n_cells), float64
            In the cells of the slices at some places.
        places : sequence of int
            In the order of time.

        Returns
        -------
        ndarray of shape (n_variants, n_sessions), float32
            NaN in sessions with a cell at another place.
        """
        cells = [cell for place in places for cell in self.cells[place]]
        returns = session_sums(earned, cells, self._n_sessions) / self._capital
        others = set(range(len(self.cells))).difference(places)
        returns[:, [cell.session for place in others for cell in self.cells[place]]] = np.nan
        return returns.astype(np.float32)

    def unknown(self, n: int) -> NDArray[np.float32] | None:
        """Return NaN for ``n`` variants in each session; None where returns are not kept."""
        if self._n_sessions < 0:
            return None
        return np.full((n, self._n_sessions), np.nan, np.float32)
