"""What this machine and installation are fit for: checks with what to mend, and benchmarks that can be compared.

`hetdask doctor` and `hetdask bench` show what is found here.
"""
