"""Answers from documents: load, chunk, index, retrieve, rerank, assemble, cite; `rag.Rag` wraps a backend in them."""
