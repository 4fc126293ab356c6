"""The command line: one module for each command, and nothing that another program could want.

Modules import click and the standard library only; what a command needs is imported when it runs.
"""
