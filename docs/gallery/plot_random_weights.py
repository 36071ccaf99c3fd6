"""
The random-weights control
==========================

What did the network learn? The share of ten nearest neighbors that are of an image's own class,
for trained weights and for random ones, by layer. Only what is above the random weights was
learned from images.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.neighbors import NearestNeighbors

from featx import extract, load_dataset

data = load_dataset("drawings")
data = data.take(range(0, len(data), 2))
layers = ["pool1", "pool5", "relu_fc7"]


def neighbor_purity(X):
    """Mean fraction of the ten nearest rows, by cosine distance, that share a row's class."""
    neighbors = NearestNeighbors(n_neighbors=10, metric="cosine").fit(X)
    indices = neighbors.kneighbors(return_distance=False)
    return np.mean(data.labels[indices] == data.labels[:, None])


figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for weights, style in (("default", "o-"), ("random", "s--")):
    features = extract(data, model="featxnet", layer=layers, pooling="gap", weights=weights)
    purities = [neighbor_purity(features.layer(name)) for name in features.blocks]
    axis.plot(layers, purities, style, label=f"{weights} weights")
axis.axhline(0.1, color="gray", linestyle=":", label="ten classes, by chance")
axis.set(ylabel="purity of ten neighbors", ylim=(0, None))
axis.legend()
