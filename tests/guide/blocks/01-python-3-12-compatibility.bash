# Check Python version
python --version  # Should show 3.12 or higher

# Create Python 3.12 environment
conda create -n heterodyne python=3.12
conda activate heterodyne

# Install package
pip install heterodyne-analysis[all]
