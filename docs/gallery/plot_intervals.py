"""
Features, controls and intervals
================================

`featx.compare` puts controls beside the features. On 300 digits of 8 x 8 pixels, raw pixels do as
well as HOG: these images cannot show what features are good for.
"""

import matplotlib.pyplot as plt

from featx import compare, load_dataset

digits = load_dataset("digits").take(range(300))
result = compare(digits, ["hog,image_size=32"], n_splits=2)
figure, axis = plt.subplots(figsize=(7, 2.6), layout="constrained")
for row in reversed(result.rows):
    color = "gray" if row["is_control"] else "tab:blue"
    axis.hlines(row["spec"], row["low"], row["high"], color=color)
    axis.plot(row["accuracy"], row["spec"], "o", color=color)
axis.axvline(0.1, color="gray", linestyle=":")
axis.set(xlabel="accuracy, with its 95 % interval", xlim=(0, 1))
