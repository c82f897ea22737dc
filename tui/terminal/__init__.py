"""What the terminal shows, and how little has to be written to change it."""
