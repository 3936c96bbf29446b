"""LLaVA with fewer visual tokens: VisionDrop and its relatives."""
