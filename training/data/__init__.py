"""Photos and data sets: folders, inspection, duplicates, splits, features, the prepared data set. Runs in the training image."""
