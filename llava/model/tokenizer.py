"""The tokenizer of a checkpoint, with LLaVA's ids. How it is read and what it does: `llava/model/tokenizers/`."""

from llava.model.tokenizers.llama import LlamaTokenizer
from llava.model.tokenizers.loading import load_tokenizer

__all__ = ["LlamaTokenizer", "load_tokenizer"]
