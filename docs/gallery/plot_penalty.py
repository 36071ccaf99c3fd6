"""
What C does to the accuracy
===========================

Cross-validated accuracy of a linear classifier by the value of C. Where features separate
classes, a poor value costs as much as a poor layer; where they do not, no value helps. featx
chooses C on the training images, for each feature set.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from featx import extract, load_dataset

data = load_dataset("drawings")
data = data.take(range(0, len(data), 2))
grid = 10.0 ** np.arange(-5, 2)
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for spec in ("cnn:featxnet:pool1,pooling=gap", "cnn:featxnet:pool5,pooling=gap"):
    X = extract(data, spec).X
    accuracies = []
    for C in grid:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=2000))
        accuracies.append(cross_val_score(model, X, data.labels, cv=3).mean())
    axis.plot(grid, accuracies, marker="o", label=spec)
axis.set(xlabel="C", ylabel="accuracy", xscale="log", ylim=(0, None))
axis.legend()
