"""
Where the words of an image are
===============================

Each key point has the color of its nearest visual word. Words are local: the same word appears on
edges and corners of the object and of the clutter around it, and a bag of words counts them all.
"""

import cv2
import matplotlib.pyplot as plt
import numpy as np
from sklearn.cluster import KMeans

from featx import load_dataset

data = load_dataset("drawings")
images = [data.images.pixels(index) for index in range(0, len(data), 5)]
sift = cv2.SIFT_create()
found = [sift.detectAndCompute(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), None) for image in images]
words = KMeans(8, n_init=1, random_state=0).fit(np.concatenate([rows for _, rows in found]))
figure, axes = plt.subplots(1, 4, figsize=(10, 2.8), layout="constrained")
for axis, index in zip(axes, (12, 32, 52, 92)):
    points, rows = found[index]
    places = np.array([point.pt for point in points])
    axis.imshow(images[index])
    axis.scatter(*places.T, c=words.predict(rows), cmap="tab10", vmin=0, vmax=9, s=25, ec="white")
    axis.set(title=data.labels[5 * index], xticks=[], yticks=[])
