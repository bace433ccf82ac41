"""What a study says, for people: one self-contained page, a table for the terminal, and pictures of patches.

`html.write_report` writes the page, `terminal.leaderboard_table` gives the table, `figures.patch.show_patch` shows all
modalities of one patch. This room reads results and never trains.
"""
