"""The web server around the page: who comes in, whose turn it is, what is refused and how it ends.

It sees the engine and Gradio, and nothing of what the page shows.
"""
