"""Scenes and boxes, points or grids to chips."""
