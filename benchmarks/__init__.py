"""What the library costs, measured as medians of several runs and as ratios to something else of the same run."""
