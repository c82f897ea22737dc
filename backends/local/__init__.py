"""The engine's child process as its users see it: what it is told, where it is found, how it is started and held.

The child itself is `backends.serve.child`; the backend that stands on both is `backends.providers.local`.
"""
