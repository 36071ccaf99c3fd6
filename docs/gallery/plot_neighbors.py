"""
Nearest neighbors
=================

Features define which images are alike. The first image of each row is the query; the others are
its nearest neighbors among a third of the drawn images, once by HOG and once by a late layer of
the bundled network.
"""

import matplotlib.pyplot as plt
from sklearn.neighbors import NearestNeighbors

from featx import extract, load_dataset

data = load_dataset("drawings")
data = data.take(range(0, len(data), 3))
query = 3
specs = {"HOG": "hog", "network, pool5": "cnn:featxnet:pool5,pooling=gap"}
figure, axes = plt.subplots(2, 6, figsize=(9, 3.4), layout="constrained")
for row, (title, spec) in zip(axes, specs.items()):
    X = extract(data, spec).X
    nearest = NearestNeighbors(n_neighbors=6, metric="cosine").fit(X)
    for axis, index in zip(row, nearest.kneighbors(X[[query]], return_distance=False)[0]):
        axis.imshow(data.images.pixels(int(index)))
        axis.set(xticks=[], yticks=[], title=data.labels[index])
    row[0].set_ylabel(title)
