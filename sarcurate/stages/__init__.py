"""One module per dvc.yaml stage: read, call, write."""
