"""What all pictures are made of: style, text, the canvas, grids, maps, colours, files."""
