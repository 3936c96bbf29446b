"""Text to ids and back: LLaMA's SentencePiece tokenizer or a checkpoint's own `tokenizer.json`, and which one it is."""
