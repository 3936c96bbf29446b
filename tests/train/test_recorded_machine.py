"""The recorded batches once more, with matrix products that add up as on the machine that recorded them.

There every loss is within 1e-6, and single samples are equal in every bit. MKL chooses its kernels by the processor's
maker; a library that answers for it is preloaded into a process of its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
AVX512 = torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.backends.mkl.is_available()


@pytest.mark.long
@pytest.mark.skipif(not AVX512, reason="recorded with AVX-512 kernels and MKL")
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_every_loss_is_within_a_millionth_where_products_add_up_as_recorded(tmp_path: Path) -> None:
    library = tmp_path / "as_recorded.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", HERE / "as_recorded.c", "-o", library], check=True)
    batches = [sys.executable, "-m", "pytest", "-n", "0", "-q", str(HERE / "test_recorded_batches.py")]
    settings = os.environ | {"LD_PRELOAD": str(library), "AS_RECORDED": "1", "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(batches, env=settings, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-3000:]
