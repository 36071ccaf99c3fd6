"""What a long run tells of itself."""

from __future__ import annotations

from collections.abc import Sequence


class ProgressCallback:
    """Told what a run is about to do and how far it is; this one does not listen."""

    def begin(self, names: Sequence[str], widths: Sequence[int]) -> None:
        """Called before each extractor with the names and columns of its blocks."""

    def note(self, text: str) -> None:
        """Called with a line that the user should read."""

    def plan(self, n_images: int, n_cached: int) -> None:
        """Called for each extractor before the first image is decoded."""

    def train(self, name: str, n_images: int) -> None:
        """Called before a stage of training with the images of all its epochs together."""

    def advance(self, n_images: int) -> None:
        """Called as images are done."""


class BarOnly(ProgressCallback):
    """Hands on how far training is, and no notes.

    Parameters
    ----------
    progress : ProgressCallback
    """

    def __init__(self, progress: ProgressCallback) -> None:
        self.progress = progress

    def train(self, name: str, n_images: int) -> None:
        """Hand it on."""
        self.progress.train(name, n_images)

    def advance(self, n_images: int) -> None:
        """Hand it on."""
        self.progress.advance(n_images)
