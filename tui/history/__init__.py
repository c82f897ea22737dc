"""Conversations and turns, kept in SQLite.

`history` is what the app asks; `history_file` opens and migrates the file, and `conversation_table`, `message_table`
and `turn_table` know a table each. `conversation` is the one that is open.
"""
