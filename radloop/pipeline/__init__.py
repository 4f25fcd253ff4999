"""The one definition of the training pipeline, in SageMaker's own JSON, and what its expressions mean."""
