"""
The drawn images
================

``drawings`` names 500 images of ten classes that featx draws. They vary in pose, color, texture
and clutter, so that neither mean color nor raw pixels solve them.
"""

import matplotlib.pyplot as plt
import numpy as np

from featx import load_dataset

data = load_dataset("drawings")
figure, axes = plt.subplots(3, 10, figsize=(10, 3.4), layout="constrained")
for column, label in zip(axes.T, np.unique(data.labels)):
    for axis, index in zip(column, np.flatnonzero(data.labels == label)):
        axis.imshow(data.images.pixels(int(index)))
        axis.axis("off")
    column[0].set_title(label, fontsize=9)
