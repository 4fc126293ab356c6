"""`python -m hetdask_kernels`: compile every kernel into Numba's cache, so that workers only load them."""

from hetdask_kernels.warmup import warmup_numba_kernels

if __name__ == "__main__":
    warmup_numba_kernels()
