"""The code that is shipped to SageMaker: training, debugging, evaluation and serving.

Runs in the training and serving images, and in their local counterpart.
"""
