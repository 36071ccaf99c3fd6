"""
Copies on both sides of a split
===============================

Labels drawn at random cannot be predicted. If every image has a copy, and copies are on both sides
of a split, they can. Folds by group keep both copies on one side.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import GroupKFold, KFold, cross_val_score

from featx import LinearProbe, extract, load_dataset

rng = np.random.default_rng(0)
X = extract(load_dataset("drawings"), "cnn:featxnet:pool5,pooling=gap").X[::2]
groups = np.repeat(np.arange(len(X)), 2)
noise = 0.01 * X.std(axis=0) * rng.normal(size=(len(groups), X.shape[1]))
copies = (X[groups] + noise).astype(np.float32)
labels = rng.integers(0, 2, len(X))[groups]
splitters = {
    "folds of images": KFold(5, shuffle=True, random_state=0).split(copies),
    "folds of groups": GroupKFold(5).split(copies, groups=groups),
}
figure, axis = plt.subplots(figsize=(5, 3.2), layout="constrained")
for name, splitter in splitters.items():
    scores = cross_val_score(LinearProbe(C=10.0), copies, labels, cv=splitter)
    axis.bar(name, scores.mean())
axis.axhline(0.5, color="black", linestyle=":", label="the truth")
axis.set_ylabel("accuracy")
axis.legend(loc="lower center")
