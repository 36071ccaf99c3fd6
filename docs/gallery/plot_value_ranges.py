"""
Deep images and their value range
=================================

A 16-bit image whose values fill a small part of the range, as those of many cameras do. Read with
the whole range it is black; `value_range` says which stored values are black and white. It is set
once for a data set, so that images stay comparable.
"""

import matplotlib.pyplot as plt
import numpy as np

from featx import Images, load_dataset

gray = load_dataset("drawings").images.pixels(310).mean(axis=2)
stored = (1000 + 8 * gray).astype(np.uint16)
ranges = {"whole range": "dtype", "0 to 4,095": (0, 4095), "1,000 to 3,040": (1000, 3040)}
figure, axes = plt.subplots(1, 3, figsize=(8, 3), layout="constrained")
for axis, (title, value_range) in zip(axes, ranges.items()):
    images = Images([stored], value_range=value_range)
    axis.imshow(images.pixels(0).astype(np.uint8), vmin=0, vmax=255)
    axis.set(title=title, xticks=[], yticks=[])
