"""Measuring: stage names and spans, the timeline of a turn, and what is computed from it."""
