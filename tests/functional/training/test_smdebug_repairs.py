"""smdebug is imported with torch and without, and in either order. Run: `make test`."""

import subprocess
import sys

import pytest

READER = "training.job.smdebug_repairs.import_smdebug_reader()"
HOOK = "training.job.smdebug_repairs.import_smdebug_hook()"
UTILS = "__import__('smdebug.core.utils').core.utils._torch_dist_imported"


def printed(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.splitlines()[-1]


def test_the_rules_process_has_no_torch() -> None:
    """It runs beside the training, whose memory it must not take."""
    assert (
        printed(
            "import sys, training.rule_evaluation.evaluate; print([name for name in ('torch', 'smdebug.pytorch') if name in sys.modules])"
        )
        == "[]"
    )


@pytest.mark.parametrize("first", [READER, HOOK, f"{READER}; {HOOK}", f"{HOOK}; {READER}"])
def test_whoever_is_first_the_hook_knows_the_processes_of_torch(first: str) -> None:
    program = f"import training.job.smdebug_repairs; {first}; {HOOK}; import torch.distributed; print({UTILS} is torch.distributed)"
    assert printed(program) == "True"


def test_torch_can_be_imported_after_the_reader() -> None:
    assert printed(f"import training.job.smdebug_repairs; {READER}; import torch; print(torch.ones(2).sum().item())") == "2.0"
