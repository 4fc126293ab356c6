"""The page of a run, while it goes on and afterwards: read from the files of its folder, drawn by Bokeh.

`files` reads, `page` draws, `serve` shows the page on a Dask dashboard or by a server of its own.
"""
