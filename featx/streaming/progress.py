"""Progress callbacks of long runs."""

from __future__ import annotations

from collections.abc import Sequence


class ProgressCallback:
    """Receives the progress of a run; this base class ignores it."""

    def begin(self, names: Sequence[str], widths: Sequence[int]) -> None:
        """Called before each extractor with its blocks' names and numbers of columns."""

    def note(self, text: str) -> None:
        """Called with a line for the user."""

    def plan(self, n_images: int, n_cached: int) -> None:
        """Called for each extractor before the first image is decoded."""

    def train(self, name: str, n_images: int) -> None:
        """Called before each stage of training with its number of images, summed over epochs."""

    def advance(self, n_images: int) -> None:
        """Called with the number of images that have been completed since the last call."""


class BarOnly(ProgressCallback):
    """Forwards the progress of training, but no notes.

    Parameters
    ----------
    progress : ProgressCallback
    """

    def __init__(self, progress: ProgressCallback) -> None:
        self.progress = progress

    def train(self, name: str, n_images: int) -> None:
        """Forward the call."""
        self.progress.train(name, n_images)

    def advance(self, n_images: int) -> None:
        """Forward the call."""
        self.progress.advance(n_images)
