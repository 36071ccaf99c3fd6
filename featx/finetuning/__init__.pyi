from .folders import load_folder, predict_folder, save_folder
from .running import finetune
from .training import FineTunedClassifier

__all__ = ["FineTunedClassifier", "finetune", "load_folder", "predict_folder", "save_folder"]
