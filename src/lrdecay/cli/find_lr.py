"""Learning-rate range test: trains briefly while the rate grows, and suggests the rate at which the loss falls fastest.

lrdecay find-lr data=digits optimizer=sgd
lrdecay find-lr model=mlp optimizer=adam --low 1e-6 --high 1
rate=$(lrdecay find-lr data=digits --apply) &&
    lrdecay train data=digits schedule=cosine $rate

Take what it suggests as a starting point: it is higher with fewer steps, and lower with more.
"""

import logging
import sys
from pathlib import Path

from lrdecay.cli.arguments import add_overrides, parse, parser_of
from lrdecay.config.build import build
from lrdecay.config.compose import compose_all
from lrdecay.config.overrides import key_of
from lrdecay.config.rules import is_own_optimizer
from lrdecay.errors import ConfigError
from lrdecay.imports import importing
from lrdecay.reports.console import figure_path, relative

# One process, and nothing but training batches. (A range test in several processes would have to agree when to stop.)
SHORT = (
    "trainer.max_epochs=-1", "++trainer.min_epochs=null", "++trainer.log_every_n_steps=0",
    "++trainer.limit_val_batches=0", "++trainer.enable_checkpointing=false", "++trainer.fast_dev_run=false",
    "++trainer.profiler=null", "++trainer.devices=1", "++trainer.strategy=auto", "++trainer.num_nodes=1",
    "duration=null", "ssr=1.0",
)  # fmt: skip


def refuse_own(overrides: list[str]) -> None:
    """Refuses overrides of what the range test sets itself, rather than replace them in silence."""
    own = {key_of(override): "sets it itself" for override in SHORT}
    own |= {"trainer.max_steps": "takes as many as --steps", "optimizer.lr": "tries the rates from --low to --high"}
    for override in overrides:
        if (key := key_of(override)) in own:
            raise ConfigError(f"{override}: cannot be combined with find-lr, which {own[key]}")


def main(conf: Path) -> None:
    parser = parser_of("find-lr", __doc__)
    add_overrides(parser, "as for training: data, model, optimizer, …")
    parser.add_argument("--low", type=float, default=1e-6, help="the rate of the first step [%(default)g]")
    parser.add_argument("--high", type=float, help="the rate of the last step [10, linear: 0.1]")
    parser.add_argument("--steps", type=int, default=200, help="optimizer steps [%(default)s]")
    parser.add_argument("--mode", choices=("exponential", "linear"), default="exponential", help="how the rate grows")
    parser.add_argument("--output", type=Path, default=Path("outputs/find_lr.png"), help="the figure [%(default)s]")
    parser.add_argument("--apply", action="store_true", help="print only the override on stdout")
    arguments = parse(parser, conf)
    high = {"exponential": 10.0, "linear": 0.1}[arguments.mode] if arguments.high is None else arguments.high
    refuse_own(arguments.overrides)
    configs = compose_all(conf, [*arguments.overrides, *SHORT, f"trainer.max_steps={arguments.steps}"])
    if len(configs) > 1:
        raise ConfigError(f"find-lr: must have one configuration, not {len(configs)}")
    ((_, config),) = configs

    with importing():  # torch: not for --help
        from lrdecay.files import write_atomically
        from lrdecay.reports.rates import range_test_figure
        from lrdecay.runs.assembly import data_set_name, make_module
        from lrdecay.training.module import Classifier
        from lrdecay.training.process import prepare_process
        from lrdecay.training.range_test import Probe, range_test, require_range
        from lrdecay.training.warnings import without_expected_warnings

    require_range(arguments.low, high, arguments.steps)
    config.scheduled = {}  # the rate alone is tested, with as many accumulated batches as are configured
    parts = build(config)
    if arguments.apply and is_own_optimizer(config):
        raise ConfigError("--apply: cannot be combined with optimizer=own, whose module sets the rate")
    prepare_process(config.process.tune, config.process.threads)
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    with without_expected_warnings():
        trainer = parts.trainer(callbacks=[Probe()], logger=False)
        module = make_module(parts, trainer.strategy.root_device)
        found = range_test(module, trainer, parts.data, arguments.low, high, arguments.mode)
    speak = sys.stderr if arguments.apply else sys.stdout
    network = module.model if isinstance(module, Classifier) else module
    model, optimizer = (type(thing).__name__ for thing in (network, trainer.optimizers[0]))
    title = f"{data_set_name(parts.data)}: {model}, {optimizer}"
    write_atomically(figure_path(arguments.output), range_test_figure(found, title))
    print(f"{title}: {found.verdict}", file=speak)
    print(relative(arguments.output), file=speak)
    if found.suggestion is None:
        raise ConfigError("find-lr: has no rate to suggest")
    own = is_own_optimizer(config)
    print(f"{'rate of its first parameter group: ' if own else 'optimizer.lr='}{found.suggestion:.2g}")
