"""What a viewer streams: the index of an image set, records of frames, and both laid down as files for a CDN."""
