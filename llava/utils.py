"""Small things that LLaVA's users import from `llava.utils`."""


def disable_torch_init() -> None:
    """Do nothing; kept because LLaVA's commands and other programs call it before they load a model.

    LLaVA's function saved start-up time by replacing the default initialisation of torch's Linear and LayerNorm
    classes. This project assigns to no class it did not write, and transformers 5 builds a model on the meta device
    before it fills in the checkpoint's weights, so there is no initialisation left to skip.
    """
