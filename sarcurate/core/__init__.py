"""SAR physics and statistics: arrays in, numbers or arrays out."""
