"""A data set as a folder for the Hugging Face Hub: packed, checked, uploaded, verified, loaded."""
