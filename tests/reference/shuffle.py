"""A Feistel network in whole numbers of Python, step by step."""

MASK = 2**64 - 1


def mixed(x):
    """The finaliser of SplitMix64."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & MASK
    return x ^ (x >> 31)


def permuted_rows(n, seed, begin, end):
    bits = 4
    while 4**bits < n:
        bits += 1
    rounds = 12 if n <= 2**14 else 4

    def step(i):
        left, right = i >> bits, i & (2**bits - 1)
        for number in range(1, rounds + 1):
            left, right = right, left ^ mixed((mixed(seed) + (number << 58) + right) & MASK) & (2**bits - 1)
        return left << bits | right

    rows = []
    for place in range(begin, end):
        row = step(place)
        while row >= n:
            row = step(row)
        rows.append(row)
    return rows
