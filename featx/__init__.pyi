from .analysis.depth import depth_profile
from .analysis.embedding import project
from .data.datasets import load_dataset
from .data.images import Images
from .engine.extraction import extract
from .engine.registry import list_extractors
from .engine.specs import make_extractor
from .evaluation.comparison import compare, probe
from .evaluation.coral import CORAL
from .evaluation.data_checks import check
from .evaluation.domain_transfer import transfer
from .evaluation.linear_probe import LinearProbe
from .evaluation.prediction import predict
from .extractors.bovw.bag_of_visual_words import BagOfVisualWords
from .extractors.cnn import CNNFeatures
from .extractors.color import ColorHistogram, HSVHistogram, MeanColor
from .extractors.gabor import Gabor
from .extractors.gist import Gist
from .extractors.hog import HOG
from .extractors.phog import PHOG
from .extractors.pixels import RawPixels
from .extractors.texture import GLCM, LBP
from .features.feature_set import FeatureSet
from .finetuning.classifier import FineTunedClassifier
from .finetuning.experiment import finetune
from .finetuning.layer_advice import advise
from .networks.configs import list_layers
from .networks.sources.catalog import list_models
from .store.feature_store import FeatureStore

__all__ = [
    "CORAL",
    "GLCM",
    "HOG",
    "LBP",
    "PHOG",
    "BagOfVisualWords",
    "CNNFeatures",
    "ColorHistogram",
    "FeatureSet",
    "FeatureStore",
    "FineTunedClassifier",
    "Gabor",
    "Gist",
    "HSVHistogram",
    "Images",
    "LinearProbe",
    "MeanColor",
    "RawPixels",
    "advise",
    "check",
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
