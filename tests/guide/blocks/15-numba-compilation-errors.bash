python --version  # Should be 3.12+
