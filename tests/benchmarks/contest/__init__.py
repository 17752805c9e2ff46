"""What peers.py is made of: who takes part, what they do, what is measured, how it is shown."""
