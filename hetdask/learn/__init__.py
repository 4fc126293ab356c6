"""Start values learned from simulated experiments and from the user's own fits.

`start` turns reduced data into parameter vectors worth polishing, and says where the data are unlike anything it
knows; `history` keeps the user's fits.
"""
