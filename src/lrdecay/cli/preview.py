"""Draws learning rates over a run without training: a figure, and a line for each in the terminal.

lrdecay preview schedule=cosine,step,wsd trainer.max_epochs=20
lrdecay preview schedule=step schedule.gamma=0.1,0.3,0.5
# what convex theory says of each
lrdecay preview schedule=constant,cosine,linear,wsd --bound
# every schedule of the catalogue
lrdecay preview --all
"""

from pathlib import Path

from lrdecay.cli.arguments import add_overrides, parse, parser_of
from lrdecay.config.compose import compose_all
from lrdecay.config.preview import bounded_curve, rate_curve
from lrdecay.config.rules import is_own_optimizer
from lrdecay.data.catalogue import data_set
from lrdecay.files import write_atomically
from lrdecay.reports.console import figure_path, relative, say, wide
from lrdecay.reports.preview import BOUND_READ, bound_table, table
from lrdecay.text import plural

FOLLOW_A_METRIC = ("plateau", "greedy")


def main(conf: Path) -> None:
    parser = parser_of("preview", __doc__)
    add_overrides(parser, "as for training; a,b,c draws each")
    parser.add_argument("--all", action="store_true", help="a sheet of every schedule in the catalogue")
    parser.add_argument("--bound", action="store_true", help="compare them by the bound of arXiv 2501.18965")
    parser.add_argument("--output", type=Path, default=Path("outputs/preview.png"), help="the figure [%(default)s]")
    parser.add_argument("--steps-per-epoch", type=int, help="batches of an epoch, for a data set of your own")
    arguments = parse(parser, conf)
    overrides = arguments.overrides
    if arguments.all:
        names = sorted(path.stem for path in (conf / "schedule").glob("*.yaml"))
        drawn = [name for name in names if name not in (*FOLLOW_A_METRIC, "torch")]
        overrides = [f"schedule={','.join(drawn)}", *overrides]
    configs = compose_all(conf, overrides, experiments=True)
    curves = [rate_curve(label, config, arguments.steps_per_epoch) for label, config in configs]
    bounded = []
    if arguments.bound:
        pairs = zip(curves, configs, strict=True)
        bounded = [bounded_curve(curve, config, arguments.steps_per_epoch) for curve, (_, config) in pairs]

    from lrdecay.reports.rates import catalogue_figure, preview_figure  # matplotlib: not before a mistake is found

    draw = catalogue_figure if arguments.all else preview_figure
    write_atomically(figure_path(arguments.output), draw(curves, bounded))
    console = wide()
    console.print(table(curves, console.width))
    if bounded:
        console.print(bound_table(bounded))
        say(BOUND_READ)
    # Of a class of one's own the name is that of the class, and the steps were given.
    lengths = {(curve.horizon, data_set(config.data).name) for curve, (_, config) in zip(curves, configs, strict=True)}
    for horizon, data in sorted(lengths, key=lambda pair: (pair[0].total_steps, pair[1])):
        of = "" if arguments.steps_per_epoch else f" of {data}"
        say(f"{plural(horizon.total_steps, 'step')}, {horizon.steps_per_epoch:,} an epoch{of}")
    if any(config.get("scale") for _, config in configs):
        say("scale: drawn as 1; it follows a metric that only training has")
    if any(is_own_optimizer(config) for _, config in configs):
        say("optimizer=own: drawn as multiples of the module's own rate")
    say(relative(arguments.output))
