from .datasets import load_dataset
from .extraction import extract
from .extractors.bovw import BagOfVisualWords
from .extractors.cnn import CNNFeatures
from .extractors.color import ColorHistogram, MeanColor
from .extractors.hog import HOG
from .extractors.pixels import RawPixels
from .features import FeatureSet
from .images import Images
from .models import list_layers, list_models
from .prediction import predict
from .probing import LinearProbe, compare, probe
from .registry import list_extractors, make_extractor
from .store import FeatureStore

__all__ = [
    "HOG",
    "BagOfVisualWords",
    "CNNFeatures",
    "ColorHistogram",
    "FeatureSet",
    "FeatureStore",
    "Images",
    "LinearProbe",
    "MeanColor",
    "RawPixels",
    "compare",
    "extract",
    "list_extractors",
    "list_layers",
    "list_models",
    "load_dataset",
    "make_extractor",
    "predict",
    "probe",
]

__version__: str
