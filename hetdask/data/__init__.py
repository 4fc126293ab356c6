"""From beamline files to the Zarr store.

Readers know the layouts, ``ingest`` writes a store, ``store`` reads it tile by tile, ``inspect`` says what is in
either.
"""
