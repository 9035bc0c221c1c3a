"""The page of a search: how it went, and what of the values mattered; Optuna's own figures in one file."""

import html
import warnings
from collections.abc import Sequence
from importlib.resources import files
from string import Template
from typing import TYPE_CHECKING, Any

from plotly.offline import get_plotlyjs

if TYPE_CHECKING:
    import optuna

FEWEST = 4
"""Complete trials, for the importance of their keys."""


def search_page(study: "optuna.Study", objectives: Sequence[str], lines: Sequence[str]) -> str:
    """The page as HTML, which asks nothing of a network.

    Args:
        study: with complete trials.
        objectives: names.
        lines: what is said above the figures.
    """
    from optuna import visualization

    figures: list[Any] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Optuna says of its own experimental parts
        if 2 <= len(objectives) <= 3:
            figures.append(visualization.plot_pareto_front(study, target_names=list(objectives)))
        if any(trial.intermediate_values for trial in study.get_trials(deepcopy=False)):
            figures.append(visualization.plot_intermediate_values(study))  # by percent of the run
        for place, name in enumerate(objectives):
            chosen: dict[str, Any] = {"target_name": name}
            if len(objectives) > 1:
                chosen["target"] = lambda trial, place=place: trial.values[place]
            figures += [visualization.plot_optimization_history(study, **chosen)]
            figures += [visualization.plot_slice(study, **chosen)]
            if enough_to_weigh(study):
                figures += [visualization.plot_param_importances(study, **chosen)]
                figures += [visualization.plot_contour(study, **chosen)]
    template = (files("lrdecay.reports") / "web/search.html").read_text(encoding="utf-8")
    return Template(template).substitute(
        title=html.escape(f"Search {study.study_name}"),
        plotly=get_plotlyjs(),
        lines="".join(f"<p>{html.escape(line)}</p>" for line in lines),
        figures="".join(figure.to_html(full_html=False, include_plotlyjs=False) for figure in figures),
    )


def enough_to_weigh(study: "optuna.Study") -> bool:
    """Whether the importance of keys can be told: of two at least that differ among enough trials."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    common = set.intersection(*(set(trial.params) for trial in trials)) if trials else set()
    varied = [key for key in common if len({trial.params[key] for trial in trials}) > 1]
    return len(trials) >= FEWEST and len(varied) > 1 and len({tuple(trial.values) for trial in trials}) > 1
