"""Pixels to HTJ2K and back, previews, thumbnails, foreign codecs. Plain arrays and bytes, no DICOM attributes."""
