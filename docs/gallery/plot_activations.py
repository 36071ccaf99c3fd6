"""
Activations of an image
=======================

The strongest six channels of an early and of a late pooling layer. Early maps still show the image,
each through another filter; late maps say where something was found, at 7 x 7 positions.
"""

import matplotlib.pyplot as plt
import numpy as np

from featx import CNNFeatures, list_layers, load_dataset

image = load_dataset("drawings").images.pixels(210)
figure, axes = plt.subplots(2, 7, figsize=(10, 3.2), layout="constrained")
for line, layer in zip(axes, ("pool1", "pool5")):
    shape = list_layers("featxnet").find(layer).shape
    maps = CNNFeatures(layer=layer, pooling="flatten").fit_transform([image]).reshape(shape)
    line[0].imshow(image)
    line[0].set_ylabel(layer)
    strongest = np.argsort(-maps.max(axis=(1, 2)))[:6]
    for axis, channel in zip(line[1:], strongest):
        axis.imshow(maps[channel], cmap="magma")
    for axis in line:
        axis.set(xticks=[], yticks=[])
