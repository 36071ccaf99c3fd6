"""Which image features do you need, hand-crafted or a network's, and from which layer?

Public names stand in ``__init__.pyi`` and are loaded when they are first used:
``import featx`` imports no torch, no cv2 and no umap.
"""

import lazy_loader

__version__ = "0.1.0.dev0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
