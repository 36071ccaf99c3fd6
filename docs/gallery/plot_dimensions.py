"""
How many dimensions do features fill?
=====================================

The number of columns says little about the number of directions in which images differ. The
curves are the fraction of variance that the first principal components explain: few of an early
layer, more of a late one. HOG spreads it over almost as many as 100 images can span.
"""

import matplotlib.pyplot as plt
import numpy as np

from featx import extract, load_dataset

data = load_dataset("drawings")
data = data.take(range(0, len(data), 5))
features = extract(
    data, ["hog", "cnn:featxnet:pool1,pooling=gap", "cnn:featxnet:pool5,pooling=gap"]
)
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, (start, stop) in features.blocks.items():
    X = features.layer(name)
    variances = np.linalg.svd(X - X.mean(axis=0), compute_uv=False) ** 2
    explained = np.cumsum(variances) / variances.sum()
    axis.plot(np.arange(1, len(explained) + 1), explained, label=f"{name} ({stop - start} columns)")
axis.set(xlabel="principal components", ylabel="fraction of variance", xscale="log", ylim=(0, 1.02))
axis.legend()
