"""The HTTP doors: the platform API, DICOMweb, the viewer's files. Nothing below them knows of HTTP."""
