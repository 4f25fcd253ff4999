"""Image sets kept by ourselves: landed at once, folded in the background, exported byte for byte."""
