"""`import llava` registers the model as LLaVA does, and costs nothing where a command needs no model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import llava


def test_the_class_is_at_the_top() -> None:
    """README of 2023: `from llava import LlavaLlamaForCausalLM`."""
    from llava.model import LlavaLlamaForCausalLM

    assert llava.LlavaLlamaForCausalLM is LlavaLlamaForCausalLM
    with pytest.raises(AttributeError, match="no attribute 'LlavaGPT'"):
        _ = llava.LlavaGPT  # type: ignore[attr-defined]


ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("argv", "original", "command"),
    [
        (["-m", "--help"], ["python", "-W", "ignore", "-m", "llava.eval.merge", "--help"], True),
        (["-m"], ["python", "-mllava.eval.merge"], True),
        (["-m", "-m", "llava.eval.merge"], ["python", "-m", "program", "-m", "llava.eval.merge"], False),
        (["-m"], ["python", "-m", "llavaplus"], False),
        ([str(ROOT / "llava/eval/eval_pope.py"), "--help"], [], True),
        ([str(ROOT / "llava/../scripts/convert_gqa_for_eval.py")], [], True),
        ([str(ROOT / "scripts/mine.py")], [], False),
        ([str(ROOT / "llavaplus/program.py")], [], False),
        (["program.py", "-m", "llava.eval.merge"], ["python", "program.py", "-m", "llava.eval.merge"], False),
        (["-c"], ["python", "-c", "import llava"], False),
        ([""], ["python"], False),
        ([], ["embedded"], False),
    ],
)
def test_only_our_own_commands_come_without_the_model(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], original: list[str], command: bool
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setattr(sys, "orig_argv", original)
    assert llava._runs_a_command() is command


@pytest.mark.parametrize(
    "command",
    [["-m", "llava.eval.eval_pope"], ["llava/eval/eval_pope.py"], ["scripts/convert_gqa_for_eval.py"]],
    ids=["module", "file", "script"],
)
def test_a_scorers_help_imports_no_torch(command: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command, "--help"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "llava.eval.runs.command" in imported and not imported & {"torch", "transformers", "llava.model"}


@pytest.mark.slow
def test_import_llava_is_enough_for_transformers() -> None:
    code = (
        "import llava; from transformers import AutoConfig, AutoModelForCausalLM; "
        "config = AutoConfig.for_model('llava_llama', num_hidden_layers=1, hidden_size=8, intermediate_size=8,"
        " num_attention_heads=2, vocab_size=9); print(type(AutoModelForCausalLM.from_config(config)).__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "llava.model.language_model.llava_llama"
