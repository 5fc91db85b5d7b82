"""`docket demo`: the main job on real files, with a strike and a killed worker in the middle, and a check."""
