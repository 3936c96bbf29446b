"""What is refused before vLLM starts its engine, so that the reason is the last line and not one of many."""

from typing import Any

from llava.errors import InputError
from llava.vllm.plan import method_in

TESTED = "0.32"


def is_tested(version: str) -> bool:
    """Whether it is of the minor version that the plug-in was tested in."""
    return version.split(".")[:2] == TESTED.split(".")


def check_version(version: str) -> None:
    """Refuse a vLLM whose classes may have other names.

    Raises:
        InputError: for another minor version than the tested one.
    """
    if not is_tested(version):
        raise InputError(
            f"the plug-in is written for vLLM {TESTED}: got {version}; install that one, or leave out the architecture "
            f"for vLLM's own LLaVA with all image tokens"
        )


class Early:
    """vLLM asks a class of this form about the configuration of a model's architecture, by these names."""

    @staticmethod
    def verify_and_update_model_config(model_config: Any) -> None:
        """Check the method.

        Raises:
            InputError: see `method_in`.
        """
        method_in(model_config.hf_config)

    @staticmethod
    def verify_and_update_config(vllm_config: Any) -> None:
        """Nothing more."""
