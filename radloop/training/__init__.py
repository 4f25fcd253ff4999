"""From verified image sets to a model with an evaluation: directory in, directory out, under SageMaker's folders."""
