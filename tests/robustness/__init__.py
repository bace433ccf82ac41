"""Harnesses that try to break the command line: kills, several writers, faults of the system, hostile input.

`python -m tests.robustness --cases 1000 --seed 1` runs so many cases, spread over the harnesses, and prints a table of what became
of them; `--only kills --case 17` repeats one. pytest runs a few of each.

A harness is a module with a function `run(case, world)` that gives an `Outcome`; `__main__` lists them. A case is a seed and a
number: everything in it comes from `case.random`, so that it is the same alone and among thousands. `world.folder()` is an empty
folder for it, `world.made(name, make)` an input that is made once, and `eofuse(["pack", …], folder)` runs a command in a process of
its own, which is forked from one that has imported everything, so that it takes milliseconds to start.
"""
