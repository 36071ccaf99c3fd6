"""Figures for a paper: depth curves, maps, matrices, accuracy against cost, kernels.

Drawn by matplotlib, without pyplot and its global state; vector output, colour-blind safe, the
same bytes for the same numbers.
"""

from featx.plotting.figures import draw_figures, save_figures

__all__ = ["draw_figures", "save_figures"]
