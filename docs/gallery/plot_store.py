"""
A second run reads the store
============================

Rows are stored by the content of the image and by everything that determines them, so that a
second extraction only reads them.
"""

import tempfile
import time

import matplotlib.pyplot as plt

from featx import extract, load_dataset

data = load_dataset("drawings")
half = data.take(range(0, len(data), 2))
seconds = {}
with tempfile.TemporaryDirectory() as store:
    for run in ("first run", "second run"):
        start = time.perf_counter()
        extract(half, "gist", store=store)
        seconds[run] = time.perf_counter() - start
figure, axis = plt.subplots(figsize=(6, 2), layout="constrained")
axis.bar_label(axis.barh(list(seconds), list(seconds.values())), fmt="%.2f s", padding=4)
axis.set(xlabel="seconds for 250 images")
axis.invert_yaxis()
axis.margins(x=0.15)
