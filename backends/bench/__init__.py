"""Measuring: load on any backend, and our engine beside llama-server.

statistics.py   confidence intervals, goodput (pure)
workload.py     what is asked: lengths, prompts, arrivals, all from a seed (pure)
load.py         the load generator: closed or open loop over any Backend
gguf.py         writing a GGUF; models.py: models to measure with
wire.py         the leanest client of both servers; servers.py: starting them
cells.py        what is measured; engine.py: in which order; report.py: the table
"""
