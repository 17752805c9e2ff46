"""The Generate tab: a prompt, its completion as it grows, and other ways it could have gone."""
