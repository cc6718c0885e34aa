"""The params of vectorize."""

from dataclasses import dataclass

DAYS, ROWS = 36_500, 1_000_000_000  # at most, of a span and of the reservoir


@dataclass(frozen=True)
class Shares:
    train: float
    val: float
    test: float

    def __post_init__(self) -> None:
        if (
            min(self.train, self.val, self.test) <= 0
            or abs(self.train + self.val + self.test - 1) > 1e-9
        ):
            raise ValueError("the shares must be above 0 and add up to 1")


@dataclass(frozen=True)
class Params:
    split: Shares  # of campaigns
    salt: str  # another salt is another split
    newest_days: float  # at the end of time, of which train and val take no row
    window_days: float  # before those, of which they take all
    reservoir_rows: int  # from before the window, which they take too; the others have retired
    vocabulary_size: int  # sub-words
    sequence_length: int  # tokens; what is longer is cut
    shard_rows: int  # messages a shard

    def __post_init__(self) -> None:
        if not 300 <= self.vocabulary_size <= 1_000_000:
            raise ValueError("vocabulary_size must be 300 to 1,000,000: 256 bytes, and some words")
        if not (2 <= self.sequence_length <= 100_000 and 1 <= self.shard_rows <= 1_000_000):
            raise ValueError("sequence_length must be 2 to 100,000 and shard_rows 1 to 1,000,000")
        if not (0 <= self.newest_days <= DAYS and 0 < self.window_days <= DAYS):
            raise ValueError(
                f"newest_days must be 0 to {DAYS:,} and window_days above 0 and no more"
            )
        if not 0 <= self.reservoir_rows <= ROWS:
            raise ValueError(f"reservoir_rows must be 0 to {ROWS:,}")
