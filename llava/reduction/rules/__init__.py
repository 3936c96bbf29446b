"""One file per published rule of choosing or merging: tensors in, tensors out, no model.

Shapes: I images (or views), n tokens of one, D width; images of fewer tokens are filled up at their end, and `valid`
says where there is a token. An *order* is (I, k) int64, indices in the order in which a rule chose them, filled up with
n where an image has fewer. What the released code of a rule does and a mended rule does not is asked for by
`published=True`.
"""
