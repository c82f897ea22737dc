"""Streaming Markdown for the terminal: untrusted text in pieces in, strips out.

`sanitize` makes text safe, `splitter` cuts what grows into settled blocks and an open rest, `parser` and `render` draw
a block (`inline`, `table`, `highlight`, on lines made by `flow`), `mend` keeps what is unfinished calm, and `document`
puts them together.
"""
