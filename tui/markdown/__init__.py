"""Streaming Markdown for the terminal: untrusted text in pieces in, strips out.

`sanitize` makes text safe, `stream` cuts it into lines, `reader` (`line_starts`) makes `blocks` of them; `render` draws
a block (`parser`, `inline`, `links`, `table`, on lines made by `flow`) within what `layout` puts around it, `growing`
one that is still open, `mend` keeps what is unfinished calm, `highlight` colours code, `sections` cuts what is complete
into parts that can be drawn alone, and `document` puts it all together.
"""
