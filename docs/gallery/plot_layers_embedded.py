"""
Embeddings by layer
===================

The same 250 drawn images at three depths of the bundled network. Several layers take one forward
pass; `featx.project` aligns the embeddings, so that positions can be compared. On these images the
classes stay mixed: the bundled network is small, and the drawings are cluttered. The first page of
this site has a larger network on photographs.
"""

import matplotlib.pyplot as plt
import numpy as np

from featx import extract, load_dataset, project

data = load_dataset("drawings")
data = data.take(range(0, len(data), 2))
layers = ["pool1", "pool5", "relu_fc7"]
features = extract(data, model="featxnet", layer=layers, pooling="gap")
embeddings = project(features)
classes, colors = np.unique(data.labels, return_inverse=True)
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained")
for axis, layer, embedding in zip(axes, layers, embeddings):
    axis.scatter(*embedding.coordinates.T, c=colors, cmap="tab10", s=8)
    axis.set(xticks=[], yticks=[], title=layer)
