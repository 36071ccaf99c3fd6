"""
How many images per class?
==========================

`featx.probe` with several values of ``train_per_class`` prints a learning curve with 95 %
intervals, here HOG on 300 digits.
"""

import matplotlib.pyplot as plt
import numpy as np

from featx import load_dataset, probe

digits = load_dataset("digits").take(range(300))
rows = probe(digits, "hog,image_size=32", train_per_class=[1, 2, 5, 10]).rows
sizes, accuracy, low, high = np.array(
    [[row[name] for name in ("train_per_class", "accuracy", "low", "high")] for row in rows]
).T
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
axis.errorbar(sizes, accuracy, yerr=(accuracy - low, high - accuracy), marker="o", capsize=3)
axis.set(xlabel="training images per class", ylabel="accuracy", xscale="log", xticks=sizes)
axis.set_xticklabels([f"{size:.0f}" for size in sizes])
