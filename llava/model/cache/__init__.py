"""The KV cache of a decoder that drops tokens: layers that grow, stages of different length."""
