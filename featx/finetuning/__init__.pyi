from .advice import advise
from .autoencoder import pretrain
from .folders import load_folder, predict_folder, save_folder
from .running import finetune
from .training import FineTunedClassifier

__all__ = [
    "FineTunedClassifier",
    "advise",
    "finetune",
    "load_folder",
    "predict_folder",
    "pretrain",
    "save_folder",
]
