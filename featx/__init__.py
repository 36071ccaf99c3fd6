"""Which image features do you need, hand-crafted or a network's, and from which layer?

Public names are listed in ``__init__.pyi`` and loaded on first use: ``import featx`` does not
import torch, cv2 or umap.
"""

import lazy_loader

__version__ = "0.1.0.dev0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
