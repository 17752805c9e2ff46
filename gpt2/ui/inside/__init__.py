"""Sections that look inside: attention, logit lens, heads off, why this token."""
