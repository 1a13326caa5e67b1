"""Which rows of a simulator play requests of a list in place of drawn ones, and where these lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prema_gym.config import EnvConfig, level_bits
from prema_gym.workloads.limits import check_listing
from prema_gym.workloads.listing import Joined, Listing, joined, listing_of, trace_path
from prema_gym.workloads.programs import ProgramTable


class Lists:
    """The lists that the rows of one simulator play: that of the configuration's file, or those given at a reset."""

    def __init__(self, config: EnvConfig) -> None:
        self._config = config
        self._own: Listing | None = None
        self._held: tuple[Listing, ...] = ()
        self._checked: tuple[Listing, ...] = ()
        self._playing: dict[int, Listing] = {}
        self._priorities: dict[tuple[int, int], float] = {}
        self._joined: Joined | None = None

    @property
    def levels(self) -> int:
        """How many priorities a row can meet at most."""
        own = level_bits(self._config.workload.levels)
        return max(int(own | level_bits(levels)).bit_count() for levels in ((), *(listing.levels for listing in self._held)))

    def holds(self, listings: Sequence[Listing]) -> bool:
        """Return whether all of ``listings`` are at hand."""
        return {id(listing) for listing in listings} <= {id(listing) for listing in self._held}

    def hold(self, listings: Sequence[Listing]) -> bool:
        """Have ``listings`` at hand, and no others but the configuration's own; return whether that is new."""
        distinct = {id(listing): listing for listing in listings}
        if distinct.keys() == {id(listing) for listing in self._held}:
            return False
        self._held = tuple(distinct.values())
        self._playing = {row: listing for row, listing in self._playing.items() if id(listing) in distinct}
        return True

    def given(self, row: int) -> Listing | None:
        """Return the listing that ``row`` was given; None where it plays what the configuration says."""
        return self._playing.get(row)

    def give(self, row: int, listing: Listing | None) -> None:
        """Let ``row`` play ``listing``, one of those at hand; with None what the configuration says."""
        if listing is None:
            self._playing.pop(row, None)
        else:
            self._playing[row] = listing

    def join(self, programs: ProgramTable) -> Joined:
        """Return all lists behind each other."""
        path = trace_path(self._config)
        self._own = None if path is None else listing_of(path, self._config.npu.clock_hz)
        listings = (*(() if self._own is None else (self._own,)), *self._held)
        self._joined = joined(listings, programs)
        self._priorities.clear()
        for listing in listings:
            if not any(listing is checked for checked in self._checked):
                first, size = self._joined.places[id(listing)][1], len(listing.kinds)
                check_listing(self._config, programs, listing, self._joined.kinds[first : first + size])
        self._checked = listings
        return self._joined

    def write(self, streams: np.ndarray, rows: Sequence[int]) -> None:
        """Write into ``streams`` (N,) STREAM what ``rows`` play."""
        for row in rows:
            self._write(streams[row], self._playing.get(row))

    def _write(self, memory: np.void, given: Listing | None) -> None:
        listing = self._own if given is None else given
        memory["listed"] = 0
        if listing is None:
            return
        assert self._joined is not None
        count = self._config.horizon if given is None else len(listing.requests)
        memory["first_listed"], memory["first_kind"] = self._joined.places[id(listing)]
        memory["listed"] = count
        memory["listed_levels"] = level_bits(self._config.workload.levels) | level_bits(listing.levels)
        memory["listed_priority"] = self._mean_priority(listing, count)

    def _mean_priority(self, listing: Listing, count: int) -> float:
        key = id(listing), count
        if key not in self._priorities:
            self._priorities[key] = float(listing.requests["priority"][:count].mean())
        return self._priorities[key]

    def twin(self) -> Lists:
        """Return the same lists for another simulator whose tables and draws are these."""
        other = object.__new__(Lists)
        other.__dict__.update(self.__dict__, _playing=dict(self._playing), _priorities=dict(self._priorities))
        return other

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_own": None, "_checked": (), "_joined": None, "_priorities": {}}
