"""Studies that compare the chain with analytic, independent and simulated truth; run by `lutetia validate`.

Each study is a function that returns `Check`s, and one entry of `studies.STUDIES`. A check carries the figure, its
bound and whether it holds. Results are recorded in docs/validation with the version they were run on.
"""
