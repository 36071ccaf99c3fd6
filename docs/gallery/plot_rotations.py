"""
What happens to features when an image turns?
=============================================

One drawn image, rotated by 0 to 180 degrees, and the cosine similarity of its features to those
of the upright image. The dotted lines are the similarity to another image, without which the
curves could not be read: rows without negative values are never far apart.
"""

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

from featx import HOG, CNNFeatures, ColorHistogram, load_dataset

angles = np.arange(0, 181, 15)
image = Image.fromarray(load_dataset("drawings").images.pixels(60))
turned = [np.asarray(image.rotate(angle, resample=Image.Resampling.BILINEAR)) for angle in angles]
other = load_dataset("drawings").images.pixels(260)
turned = [pixels[19:109, 19:109] for pixels in [*turned, other]]  # Where no corner enters.
extractors = {
    "HOG": HOG(),
    "network, pool5": CNNFeatures(layer="pool5", pooling="gap"),
    "color histogram": ColorHistogram(),
}
figure, axis = plt.subplots(figsize=(6, 3.5), layout="constrained")
for name, extractor in extractors.items():
    X = extractor.fit_transform(turned)
    *similarities, to_other = cosine_similarity(X, X[:1])[:, 0]
    (line,) = axis.plot(angles, similarities, marker="o", label=name)
    axis.axhline(to_other, color=line.get_color(), linestyle=":")
axis.set(xlabel="rotation in degrees", ylabel="cosine similarity", xticks=angles[::3])
axis.legend()
