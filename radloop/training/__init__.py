"""From verified image sets to a model: directory in, directory out, under SageMaker's folders."""
