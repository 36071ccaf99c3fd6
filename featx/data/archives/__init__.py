"""Images in archives: read by offset, named and cached like any other image.

`archive_files` reads ranges of bytes, ``formats`` has one module for each kind of archive, and
`archive_listings` makes a data set of what they find.
"""
