"""Attention rows and keys of a layer, recomputed through the layer's own parts, when a method asks and not before.

The only room that knows how encoders and decoders name their norms and projections. Asking the host's own layers again
for a few rows is what lets flash and SDPA kernels, which never show their attention, stay on everywhere.

Letters in shapes: I images, T tokens, n image tokens, D width, H query heads, G key heads, d head width.
"""
