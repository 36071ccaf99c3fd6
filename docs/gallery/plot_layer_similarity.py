"""
How similar are layers?
=======================

Linear CKA compares what two layers say about the same images, whatever their numbers of columns
(Kornblith et al., 2019). Neighboring layers are alike, the first and the last are not. With random
weights the late layers are nearly the same: they pass on what they get.
"""

import matplotlib.pyplot as plt
import numpy as np

from featx import extract, load_dataset

data = load_dataset("drawings")
data = data.take(range(0, len(data), 5))
layers = ["pool1", "pool2", "relu_conv3", "pool5", "relu_fc6", "relu_fc7"]


def cka(first, second):
    """Linear CKA of centered rows."""
    cross = np.linalg.norm(first.T @ second) ** 2
    return cross / np.linalg.norm(first.T @ first) / np.linalg.norm(second.T @ second)


figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.8), layout="constrained")
for axis, weights in zip(axes, ("default", "random")):
    features = extract(data, model="featxnet", layer=layers, pooling="gap", weights=weights)
    spaces = [features.layer(name) for name in features.blocks]
    spaces = [X - X.mean(axis=0) for X in spaces]
    drawn = axis.imshow([[cka(a, b) for b in spaces] for a in spaces], vmin=0, vmax=1)
    axis.set_xticks(range(len(layers)), layers, rotation=45)
    axis.set_yticks(range(len(layers)), layers)
    axis.set_title(f"{weights} weights")
figure.colorbar(drawn, ax=axes, label="CKA")
