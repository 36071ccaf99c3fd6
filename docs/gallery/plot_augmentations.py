"""
Augmentation presets
====================

The unchanged image at the left, then random views of it. Fine-tuning with few images learns other
views of them in every epoch; with a preset that is too strong, it learns something else.
"""

import matplotlib.pyplot as plt

from featx import load_dataset
from featx.finetuning.augmentation import PRESETS, preview_augmentations

presets = [name for name in PRESETS if name != "none"]
data = load_dataset("drawings")
grid = preview_augmentations(data.images.take([110]), presets, n_views=6, size=96)
figure, axis = plt.subplots(figsize=(8, 3.6), layout="constrained")
axis.imshow(grid)
height = grid.shape[0] / len(presets)
axis.set_yticks([height * (row + 0.5) for row in range(len(presets))], presets)
axis.set_xticks([])
