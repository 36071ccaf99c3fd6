"""
Color histograms
================

A color histogram counts values per channel and forgets where they are. Two images of different
classes can share it, so it is a control as much as a feature.
"""

import matplotlib.pyplot as plt

from featx import ColorHistogram, load_dataset

images = [load_dataset("drawings").images.pixels(index) for index in (0, 120)]
rows = ColorHistogram(n_bins=8).fit_transform(images).reshape(2, 3, 8)
figure, axes = plt.subplots(2, 2, figsize=(7, 4), width_ratios=(1, 2), layout="constrained")
for (left, right), image, channels in zip(axes, images, rows):
    left.imshow(image)
    left.axis("off")
    for counts, color in zip(channels, ("tab:red", "tab:green", "tab:blue")):
        right.step(range(8), counts, where="mid", color=color)
    right.set_ylabel("fraction of pixels")
axes[1, 1].set_xlabel("bin, from dark to bright")
