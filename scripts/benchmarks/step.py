"""Where the time of a training step goes."""

import re
import statistics

from benchmarks.bench import Bench, newest, table
from lrdecay.records.record import read


def step(bench: Bench) -> None:
    """Where the time of a training step on the CPU goes, and what of it a bare loop would not need."""
    bare, full = [], []
    for seed in range(bench.rounds):
        bare.append(bench.peer("no_framework", seed))
        what = ["trainer=cpu", f"data={bench.data}", f"seed={seed}", f"trainer.max_epochs={bench.epochs}"]
        bench.train(*what, "+trainer.limit_val_batches=0")
        record = read(newest(bench.folder / "runs") / "record.json")
        steps = record.plan.steps_per_epoch or 1
        full.append(statistics.median(record.progress.epoch_seconds[1:]) / steps)
    loop = [statistics.median(result["seconds"][1:]) / steps for result in bare]
    parts = {
        name: statistics.median(statistics.median(result["parts"][name][1:]) for result in bare) / steps
        for name in bare[0]["parts"]
    }
    share = statistics.median(1 - one / whole for one, whole in zip(loop, full, strict=True))
    whole = statistics.median(full)
    profiled = profile(bench)
    bench.results["step"] = {"ms": 1e3 * whole, "framework_share": share, "profiled_us": profiled}
    bench.results["step"]["parts_ms"] = {name: 1e3 * value for name, value in parts.items()}
    rows = [[name, f"{1e6 * value:.0f}", f"{100 * value / whole:.1f}%"] for name, value in parts.items()]
    rows.append(["the framework's own", f"{1e6 * share * whole:.0f}", f"{100 * share:.1f}%"])
    rows += [[f"  of it {name}", f"{value:.0f}", f"{1e-4 * value / whole:.1f}%"] for name, value in profiled.items()]
    rows.append(["a step", f"{1e6 * whole:.0f}", "100%"])
    table(f"A training step on {bench.data}, median of {bench.rounds} rounds", ["", "µs", "part"], rows)


def profile(bench: Bench) -> dict[str, float]:
    """µs a step of some hooks, by Lightning's profiler, which adds a little to each."""
    bench.train("debug=profile", f"data={bench.data}")
    lines = (newest(bench.folder / "runs") / "fit-profile.txt").read_text().splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.count("|") > 4]
    seconds = {row[0]: float(row[3]) for row in cells if row[2].isdigit()}
    (steps,) = (int(row[2]) for row in cells if row[0] == "run_training_batch")
    hooks = {
        "schedule": r"\[LightningModule\].*\.(lr_scheduler_step|on_before_optimizer_step)",
        "logging": r"\[LightningModule\].*\.on_train_batch_end",
        "callbacks": r"\[Callback\].*\.on_(train_batch|before|after)_\w+",
    }
    return {
        name: 1e6 * sum(value for action, value in seconds.items() if re.fullmatch(pattern, action)) / steps
        for name, pattern in hooks.items()
    }
