"""The views that look inside a text, one a module: see `View` in gpt2/ui/view.py."""
