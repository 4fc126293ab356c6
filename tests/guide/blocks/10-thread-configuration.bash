# Recommended for most systems
export OMP_NUM_THREADS=4
export NUMBA_NUM_THREADS=4

# For high-core systems (>16 cores)
export OMP_NUM_THREADS=8
export NUMBA_NUM_THREADS=8

# Run analysis
heterodyne --config my_config.json --method classical
