"""The model zoo: Finch, Finch-C2, GOLD, GPTAlpha and Llama layers, and GoldFinch at any ratio of them."""

from gfqa.model.checkpoint import load_model, load_reference, save_model
from gfqa.model.config import ModelConfig
from gfqa.model.key_cache import KeyCache
from gfqa.model.language_model import LanguageModel
from gfqa.model.state import ModelState

__all__ = ["KeyCache", "LanguageModel", "ModelConfig", "ModelState", "load_model", "load_reference", "save_model"]
