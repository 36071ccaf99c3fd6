from .alignment import CORAL
from .datasets import load_dataset
from .extraction import extract
from .extractors.bovw import BagOfVisualWords
from .extractors.cnn import CNNFeatures
from .extractors.color import ColorHistogram, MeanColor
from .extractors.hog import HOG
from .extractors.pixels import RawPixels
from .features import FeatureSet
from .finetuning import FineTunedClassifier, advise, finetune
from .images import Images
from .models import list_layers, list_models
from .prediction import predict
from .probing import LinearProbe, compare, probe, transfer
from .projection.depth import depth_profile
from .projection.maps import project
from .registry import list_extractors, make_extractor
from .store import FeatureStore

__all__ = [
    "CORAL",
    "HOG",
    "BagOfVisualWords",
    "CNNFeatures",
    "ColorHistogram",
    "FeatureSet",
    "FeatureStore",
    "FineTunedClassifier",
    "Images",
    "LinearProbe",
    "MeanColor",
    "RawPixels",
    "advise",
    "compare",
    "depth_profile",
    "extract",
    "finetune",
    "list_extractors",
    "list_layers",
    "list_models",
    "load_dataset",
    "make_extractor",
    "predict",
    "probe",
    "project",
    "transfer",
]

__version__: str
