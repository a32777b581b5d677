"""How good a model is: the test set, calibration, predictions photo by photo, and the schemas of both files."""
