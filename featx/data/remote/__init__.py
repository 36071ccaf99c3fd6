"""Images behind URLs: object stores and web servers, by fsspec.

`remote_files` opens, reads and retries; `read_ahead` hides how long that takes; `spool` keeps on
the disk what a run reads twice.
"""
