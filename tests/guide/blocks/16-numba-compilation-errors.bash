pip install --upgrade numba
