"""Tiles and shards cover every pixel above the diagonal exactly once, whatever the sizes."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hetdask.data.tiling import SHARD_BYTES, ShardSpec, Tiling, shard_shape, tile_size, upper_tiles

sizes = st.integers(1, 400)


@pytest.mark.parametrize(("n_frames", "tile"), [(3, 16), (350, 352), (512, 512), (513, 272), (4800, 480), (20000, 512)])
def test_a_tile_is_balanced_and_a_multiple_of_16(n_frames: int, tile: int) -> None:
    assert tile_size(n_frames) == tile


@given(st.integers(3, 30000))
def test_tiles_hold_at_most_512_frames_and_little_padding(n_frames: int) -> None:
    tile = tile_size(n_frames)
    blocks = -(-n_frames // tile)
    assert tile % 16 == 0
    assert tile <= 512
    assert blocks * tile - n_frames < 16 * blocks


@given(n_phi=st.integers(1, 40), n_frames=st.integers(3, 3000), shard_bytes=st.sampled_from([2**12, 2**20, 2**26]))
def test_every_upper_tile_lies_in_one_shard_of_one_group(n_phi: int, n_frames: int, shard_bytes: int) -> None:
    tiling = Tiling.plan(n_phi, n_frames, shard_bytes=shard_bytes)
    specs = [spec for group in tiling.groups for spec in tiling.shards("store", group)]
    places = [place for spec in specs for place in spec.tiles()]
    assert len(places) == len(set(places)) == n_phi * upper_tiles(tiling.n_blocks)
    assert len({tiling.shard_file(spec) for spec in specs}) == len(specs)
    assert all(spec.n_tiles == len(list(spec.tiles())) for spec in specs)


@given(n_phi=sizes, n_frames=st.integers(3, 9000), shard_bytes=st.integers(2**16, 2**28))
def test_shards_fit_their_target_and_leave_parallel_work(n_phi: int, n_frames: int, shard_bytes: int) -> None:
    tile = tile_size(n_frames)
    tiling = Tiling(n_phi, n_frames, tile, shard_shape(n_phi, n_frames, tile, shard_bytes))
    specs = [spec for group in tiling.groups for spec in tiling.shards("store", group)]
    assert len(specs) >= min(n_phi, 8)
    assert max(spec.n_tiles for spec in specs) * tiling.tile_bytes <= max(shard_bytes, tiling.tile_bytes)
    assert tiling.shard[1] % tile == 0
    assert tiling.shard[0] == 1 or len(specs) == len(tiling.groups)


def test_small_maps_share_shards_and_large_ones_are_split() -> None:
    assert shard_shape(300, 100, 112, SHARD_BYTES) == (42, 112, 112)
    assert shard_shape(1, 20000, 512, SHARD_BYTES) == (1, 4096, 4096)


def test_a_shard_spec_is_small_when_it_travels() -> None:
    spec = ShardSpec("/scratch/scan.zarr", (0, 1), (0, 8), (0, 8), 36)
    assert len(pickle.dumps(spec)) < 400
    assert pickle.loads(pickle.dumps(spec)) == spec
