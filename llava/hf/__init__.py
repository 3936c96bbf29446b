"""transformers' own models of pictures and text with fewer tokens: `llava.hf.reduce(model, "visiondrop", retain=0.1)`.

No class is patched and no hook is left. What reduces is made for each call out of clones of the model's three outer
objects, which share every weight with the given one: the inner model, whose `get_image_features` asks the method what
stays, and the decoder, which drops there.
"""

from llava.hf.families import methods, supported
from llava.hf.presets import PRESETS
from llava.hf.reduced import reduce

__all__ = ["PRESETS", "methods", "reduce", "supported"]
