"""What the backends on other people's servers have in common; each dialect is one file under `backends/providers/`.

A request goes out (`turns`, `server`), an answer comes in (`reader`), and where nobody said what a server speaks, it is
asked (`dialect`, `probe`, `nearby`).
"""
