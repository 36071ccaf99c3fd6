"""
What HOG keeps of an image
==========================

HOG draws as stars: the longer a line, the more edges run along it. Large cells keep the outline and
forget where exactly it is, small cells keep details and clutter, and have far more columns.
"""

import matplotlib.pyplot as plt
import numpy as np
from skimage.feature import hog

from featx import HOG, load_dataset

image = load_dataset("drawings").images.pixels(160)
sizes = (32, 16, 8, 4)
figure, axes = plt.subplots(1, 5, figsize=(11, 2.6), layout="constrained")
axes[0].imshow(image)
axes[0].set(title="image", xticks=[], yticks=[])
for axis, cell_px in zip(axes[1:], sizes):
    _, stars = hog(image, 9, (cell_px, cell_px), (2, 2), channel_axis=-1, visualize=True)
    n_columns = HOG(cell_px=cell_px).fit_transform([image]).shape[1]
    axis.imshow(np.sqrt(stars), cmap="gray")
    axis.set(title=f"{cell_px} px, {n_columns:,} columns", xticks=[], yticks=[])
