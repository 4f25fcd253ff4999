"""The HealthImaging door: the API of AWS HealthImaging, by the service model that botocore ships."""
