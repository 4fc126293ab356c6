# Set environment variable
export HETERODYNE_PERFORMANCE_MODE=1

# With Numba parallel optimization
export NUMBA_ENABLE_CUDASIM=0
export NUMBA_DISABLE_JIT=0

# Run analysis
heterodyne --config my_config.json --method all
