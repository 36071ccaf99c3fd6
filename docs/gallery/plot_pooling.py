"""
Pooling feature maps
====================

A convolutional layer has one map per channel. Averaging each map (``gap``) forgets where something
was; a grid keeps it roughly, and has a column for each channel and cell. Here the grid helps: each
drawing has its object near the middle. Where objects may be anywhere, ``gap`` is as good.
"""

import matplotlib.pyplot as plt
from sklearn.model_selection import cross_val_score

from featx import LinearProbe, extract, load_dataset

data = load_dataset("drawings")
data = data.take(range(0, len(data), 2))
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for pooling in ("gap", "max", "grid=2", "grid=4"):
    X = extract(data, model="featxnet", layer="pool5", pooling=pooling).X
    accuracy = cross_val_score(LinearProbe(C=0.001), X, data.labels, cv=3).mean()
    axis.bar(f"{pooling}\n{X.shape[1]:,} columns", accuracy, color="tab:blue")
axis.axhline(0.1, color="gray", linestyle=":")
axis.set_ylabel("accuracy, 3 folds")
