"""The conversation on the screen: one widget on Textual's line API.

`transcript` is the widget; below it, each standing on the next: `searchable_lines` (`finder`), `selectable_lines`
(`selection`), `message_lines`, which draws in frames (`frame_clock`, `frame_rate`) with a scrollbar of its own
(`thumb`). What it shows is a `message_stack` of `message_view`s, each made of `message_part`s: head, text, thought,
tail.
"""
