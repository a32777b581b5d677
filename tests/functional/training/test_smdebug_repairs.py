"""smdebug, as its files are repaired, imports what it needs and no more, and warns of nothing. Run: `make test`."""

import subprocess
import sys

import pytest

HOOK, READER = "import smdebug.pytorch", "import smdebug.trials, smdebug.rules"


def printed(program: str) -> str:
    """The last line that a program prints which may not warn."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_rules_process_has_no_torch() -> None:
    """It runs beside the training, whose memory it must not take."""
    absent = "('torch', 'smdebug.pytorch', 'pyinstrument', 'distutils')"
    assert printed(f"import sys, training.rule_evaluation.evaluate; print([name for name in {absent} if name in sys.modules])") == "[]"


@pytest.mark.parametrize("imports", [HOOK, f"{READER}; {HOOK}", f"{HOOK}; {READER}"])
def test_smdebug_knows_the_processes_of_torch_whatever_is_imported_first_and_without_packaging(imports: str) -> None:
    program = f"""import sys
sys.modules["packaging"] = None
{imports}
import torch.distributed
from smdebug.core.utils import get_distributed_worker
before = get_distributed_worker()
torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
print(before, get_distributed_worker())"""
    assert printed(program) == "None 0"


def test_python_profiling_asks_for_pyinstrument_where_it_is_used() -> None:
    program = """import sys
sys.modules["pyinstrument"] = None
from smdebug.profiler.python_profiler import PyinstrumentPythonProfiler
try:
    PyinstrumentPythonProfiler("folder", "pytorch")._enable_profiler()
except ModuleNotFoundError as error:
    print(error)"""
    assert "pyinstrument" in printed(program)
