"""What JAX compiles is kept in the user's cache folder, bounded, unless that is not wanted."""

import os

import jax
import pytest

from jaxvsr.host import programs
from jaxvsr.host.places import cache_folder

NAMES = ("dir", "max_size")


@pytest.fixture
def config(monkeypatch, tmp_path):
    """JAX's settings without the cache of these tests; they come back afterwards."""
    names = [f"jax_compilation_cache_{name}" for name in NAMES]
    names += ["jax_persistent_cache_min_compile_time_secs", "jax_enable_compilation_cache"]
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.setenv("JAXVSR_CACHE", str(tmp_path / "cache"))
    yield jax.config
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_in_the_cache_folder_and_bounded(config):
    programs.keep_programs()
    folder = config.jax_compilation_cache_dir
    assert folder.startswith(str(cache_folder() / "programs")) and os.path.isdir(folder)
    assert config.jax_compilation_cache_max_size == programs.MOST == 256 << 20


def test_a_folder_of_ones_own_is_left_alone(config):
    config.update("jax_compilation_cache_dir", "mine")
    programs.keep_programs()
    assert config.jax_compilation_cache_dir == "mine" and not cache_folder().exists()


def test_it_can_be_switched_off(config):
    config.update("jax_enable_compilation_cache", False)
    programs.keep_programs()
    assert config.jax_compilation_cache_dir is None and not cache_folder().exists()


def test_a_folder_that_cannot_be_made_is_gone_without(config):
    cache_folder().write_text("a file stands there")
    programs.keep_programs()
    assert config.jax_compilation_cache_dir is None
