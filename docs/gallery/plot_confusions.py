"""
Which classes are confused?
===========================

A linear probe in a scikit-learn pipeline, and its confusion matrix on images held out.
"""

import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from featx import CNNFeatures, LinearProbe, load_dataset

data = load_dataset("drawings")
train, test = train_test_split(range(len(data)), stratify=data.labels, random_state=0)
train, test = data.take(train), data.take(test)
model = make_pipeline(CNNFeatures(layer="pool5", pooling="gap"), LinearProbe())
model.fit(train.images, train.labels)
figure, axis = plt.subplots(figsize=(6, 5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    test.labels, model.predict(test.images),
    ax=axis, xticks_rotation="vertical", colorbar=False, cmap="Blues",
)  # fmt: skip
