"""The extension takes whatever Python hands over: it answers or raises, and never panics, aborts, hangs or takes memory that nobody asked for."""
import os
import pathlib
import re
import subprocess
import sys

CALLS = pathlib.Path(__file__).with_name("hostile_calls.py")
INPUTS = int(os.environ.get("TIDEMILL_HOSTILE_INPUTS", "20000"))
SEED = int(os.environ.get("TIDEMILL_HOSTILE_SEED", "1"))
# A process for so many calls, which may take so long: a thousandth of it on a quiet machine.
INPUTS_A_PROCESS, LIMIT_S = 10000, 300


def test_any_call_answers_or_raises(tmp_path):
    last = tmp_path / "last"
    for number in range(0, INPUTS, INPUTS_A_PROCESS):
        count = min(INPUTS_A_PROCESS, INPUTS - number)
        done = subprocess.run([sys.executable, str(CALLS), str(SEED + number), str(count), str(last)], text=True, capture_output=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, f"exit code {done.returncode} at {last.read_text().strip()}\n{done.stderr[-3000:]}"
        calls, raised = map(int, re.fullmatch(r"(\d+) calls, (\d+) of them raised\n", done.stdout).groups())
        # A generator that makes only nonsense, or none, tests nothing.
        assert calls == count and 0.2 < raised / calls < 0.9
