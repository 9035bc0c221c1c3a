"""What of Hydra and OmegaConf is used beyond their public interface is still there."""

import argparse
import copy

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support.programs import ROOT

from lrdecay.config import hydra_internals
from lrdecay.config.resolvers import register, register_resolvers


@pytest.mark.parametrize("flag", ["--multirun", "--multi", "-m"])
def test_hydras_parser_of_flags(flag):
    given = hydra_internals.parse_flags([flag, "--config-dir=x", "a=1"])
    assert isinstance(given, argparse.Namespace)
    assert (given.multirun, given.config_dir, given.cfg, given.info) == (True, "x", None, None)


def test_hydras_launcher_of_jobs_in_one_process_has_its_name():
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", return_hydra_config=True)
    assert config.hydra.launcher._target_ == hydra_internals.IN_ONE_PROCESS


def test_hydras_callbacks_can_be_none():
    assert hydra_internals.no_callbacks().callbacks == []


def test_hydras_loader_shows_the_file_of_a_choice():
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        compose("config")
        loader = GlobalHydra.instance().config_loader()
        found = hydra_internals.file_of_choice(loader, "schedule", "cosine")
        assert found.config._target_ == "lrdecay.schedules.Cosine"
        assert [default.path for default in found.defaults_list if not default.is_override()]
        assert hydra_internals.file_of_choice(loader, "schedule", "nonsense") is None


def test_omegaconfs_nodes_know_their_text_and_key():
    seen = []

    def note(*, _node_):
        seen.append((hydra_internals.text_of(_node_), hydra_internals.key_of(_node_)))
        return 1

    register("note_node", note)
    assert OmegaConf.create({"a": {"b": "${note_node:}"}}).a.b == 1
    assert seen[-1] == ("${note_node:}", "b")


def test_hydras_loader_can_be_made_of_a_search_path():
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", return_hydra_config=True)
        loader = hydra_internals.Loader(GlobalHydra.instance().config_loader().get_search_path())
        assert isinstance(loader, ConfigLoader)
        assert loader.load_sweep_config(config, ["seed=2", "optimizer.lr=0.1"]).seed == 2


def test_copies_of_hydras_repository_have_lists_of_sources_of_their_own():
    register_resolvers()
    hydra_internals.copy_no_sources()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        original, search_path = loader.repository, loader.get_search_path()
        duplicate = copy.deepcopy(original)
        assert duplicate is not original
        duplicate.initialize_sources(search_path)
        assert duplicate.sources is not original.sources
        assert [source.path for source in duplicate.sources] == [source.path for source in original.sources]
