"""Text to ids and back: LLaMA's SentencePiece tokenizer, Qwen2's, or a `tokenizer.json`; and which one it is."""
