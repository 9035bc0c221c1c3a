"""Refines a schedule by the gradient norms of runs that were trained with it (arXiv 2310.07831).

lrdecay train schedule=cosine optimizer=momentum callbacks=gradient_norm
lrdecay refine outputs/runs/NAME
lrdecay refine outputs/sweeps/NAME --smoothing 0.2 --output outputs/mine.png
"""

import shlex
from pathlib import Path

import numpy as np

from lrdecay.analysis.gradients import gradient_norms
from lrdecay.analysis.groups import load_records
from lrdecay.analysis.traces import every_rate
from lrdecay.cli.arguments import parse, parser_of
from lrdecay.commands import as_called
from lrdecay.config.overrides import flags_of, key_of
from lrdecay.errors import ConfigError, within
from lrdecay.files import write_atomically
from lrdecay.records.record import Record
from lrdecay.reports.console import figure_path, relative, say, wide
from lrdecay.reports.preview import table
from lrdecay.reports.refinement import refinement_figure
from lrdecay.schedules import Horizon, RateCurve, Table
from lrdecay.schedules.free import points_csv
from lrdecay.text import plural
from lrdecay.theory.refinement import refined, smoothed

OF_ONE_RUN = ("schedule", "seed", "name", "output_dir", "callbacks")
"""Overrides, or how they begin, that the refined run does not take from those that it is refined from."""

PLACEMENT = {"warmup": 0, "hold": 0, "cooldown": 0, "final": 0.0, "sample_every": 1}
"""Keys of a schedule that would move or bend a table, with the values at which they leave it alone."""
LATE = 0.5
"""The fraction of the run after which a peak of the refined rate is no warm-up."""


def main(conf: Path) -> None:
    parser = parser_of("refine", __doc__)
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="runs that differ in their seed only")
    parser.add_argument(
        "--smoothing", type=float, default=0.1, help="width of the median filter, a fraction of the run [%(default)s]"
    )
    parser.add_argument(
        "--output", type=Path, default=Path("outputs/refined.png"), help="the figure; the schedule as a CSV beside it"
    )
    arguments = parse(parser)
    output = figure_path(arguments.output)
    records, problems = load_records(arguments.paths)
    if problems or not records:
        raise ConfigError(problems[0] if problems else f"{arguments.paths[0]}: has no runs")
    steps, norms = gradient_norms(records)
    with within("refinement"):
        heights, smooth = refined(norms, arguments.smoothing), smoothed(norms, arguments.smoothing)
    before = _curve(records[0])
    places = np.append(steps / before.horizon.total_steps, 1.0)
    points = np.stack([places, heights], axis=1).tolist()
    factors = Table(points=points).factor(before.steps, before.horizon)
    after = RateCurve("refined", before.horizon, before.steps, before.rates.max() * factors)
    file = output.with_suffix(".csv")
    write_atomically(file, points_csv(points))
    write_atomically(output, refinement_figure(before, after, steps, norms, smooth))
    late = float(places[heights.argmax()])
    if late > LATE:
        say(
            f"warning: the refined rate is highest at {100 * late:.0f}% of the run, since the norms fall to "
            f"{100 * smooth.min() / smooth.max():.2g}% of their highest; the theory does not cover a network that "
            "comes to fit its training data"
        )
    say(f"refined by {plural(len(norms), 'gradient norm')} of {plural(len(records), 'run')}")
    console = wide()
    console.print(table([before, after], console.width))
    say(f"to train with it: {as_called('lrdecay train')} {shlex.join(_words(records[0], file))}")
    say(relative(output))


def _words(record: Record, file: Path) -> list[str]:
    """The overrides of a run like that one with the refined schedule, which has its own warm-up, over all of it."""
    kept = [word for word in record.plan.overrides if not key_of(word).startswith(OF_ONE_RUN)]
    had = record.plan.config["schedule"]
    own = [f"schedule.{key}={default}" for key, default in PLACEMENT.items() if had.get(key, default) != default]
    return [*flags_of(record.plan.command), *kept, "schedule=table", *own, f"schedule.csv={relative(file)}"]


def _curve(record: Record) -> RateCurve:
    """The rates that the run had."""
    plan = record.plan
    assert plan.total_steps is not None
    assert plan.steps_per_epoch is not None
    rates = every_rate(record, plan.total_steps)
    horizon = Horizon(plan.total_steps, plan.steps_per_epoch)
    return RateCurve(str(plan.choices.get("schedule")), horizon, np.arange(plan.total_steps), rates)
