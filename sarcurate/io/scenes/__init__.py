"""Products and other scenes: readers that give a Scene, and what they share."""
