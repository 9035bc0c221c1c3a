"""The resident set of one run, of a long one, and of a long sweep."""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.bench import ROOT, Bench, newest, table


def memory(bench: Bench) -> None:
    """The resident set of one run, of a long one, and of a long sweep."""
    long = ["data=digits", "trainer.max_epochs=200"]
    jobs = ["-m", "data=digits", "trainer.max_epochs=1", f"seed={','.join(map(str, range(50)))}"]
    commands = {
        f"{bench.data}, {bench.epochs} epochs": [f"data={bench.data}", f"trainer.max_epochs={bench.epochs}"],
        "digits, 200 epochs": long,
        "digits, a sweep of 50 jobs": jobs,
    }
    found: dict[str, Any] = {}
    rows = []
    for name, arguments in commands.items():
        sizes = resident_sizes(bench, arguments)
        half, end = max(sizes[: len(sizes) // 2 + 1]), max(sizes[int(0.9 * len(sizes)) :])
        found[name] = {"peak_mb": max(sizes), "half_mb": half, "end_mb": end}
        rows.append([name, f"{max(sizes):.0f}", f"{half:.0f}", f"{end:.0f}"])
    run_folder = newest(bench.folder / "runs")
    found["digits, 200 epochs"]["bytes"] = {
        file.name.split(".")[0]: file.stat().st_size for file in sorted(run_folder.iterdir()) if file.is_file()
    }
    bench.results["memory"] = found
    table("Resident set, MB", ["", "highest", "highest in first half", "highest in last tenth"], rows)


def resident_sizes(bench: Bench, arguments: list[str]) -> list[float]:
    """The resident set in MB, asked for twice a second while ``train.py`` runs."""
    command = [sys.executable, "train.py", *arguments, f"output_dir={bench.folder}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    sizes = []
    while process.poll() is None:
        if found := re.search(r"VmRSS:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text()):
            sizes.append(int(found[1]) / 1024)
        time.sleep(0.5)
    if process.returncode != 0:
        sys.exit(f"error: {' '.join(command)} ended with status {process.returncode}")
    return sizes
