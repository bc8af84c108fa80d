"""Where chips come from, and what was made of them."""
