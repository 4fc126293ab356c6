"""Runners, local clusters, the memory plan and thread settings.

Functions and their arguments in, results out: nothing here knows what is computed.
"""
