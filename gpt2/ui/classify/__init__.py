"""The Classify tab: a news text and its topic."""
