"""Which of several backends answers: what was measured of each (`measured`), and the decision (`choose`). Pure."""
