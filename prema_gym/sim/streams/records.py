"""What a stream remembers beyond a closed episode: records of a few hundred bytes, whatever the number of requests."""

from __future__ import annotations

import numpy as np

WINDOW = 8
"""Completions that the fairness of a stream looks at together: as many as the paper's episode has tasks."""

STREAM = np.dtype(
    [
        ("first_listed", np.int64),  # where the row's requests begin in LISTED
        ("listed", np.int64),  # how many of them are played; 0 where requests are drawn
        ("first_kind", np.int64),  # where their KINDs begin
        ("listed_levels", np.uint64),  # bit p - 1: one of them has priority p
        ("listed_priority", np.float64),  # their mean priority
        ("next_arrival_cycles", np.int64),  # when the next request arrives; NEVER after the last, or while every client waits
        ("freed_cycles", np.int64),  # when a slot was last freed
        ("start_cycles", np.int64),  # when the present step began: the sums of the step run from here
        ("head", np.int64),  # number of the request at the head of the backlog
        ("present", np.int64),  # requests in the table
        ("rewarded", np.int64),  # requests whose arrival has been rewarded
        ("thoughts", np.int64),  # think times drawn so far, of closed clients
        ("backlog_share", np.float64),  # sum of 1 / isolated cycles over the backlog
        ("backlog_weight", np.float64),  # sum of priority / isolated cycles over the backlog
        ("late_share", np.float64),  # over the backlog: cycles of the step before a request came, over isolated cycles
        ("late_weight", np.float64),  # the same times priority
        ("waited_cycles", np.float64),  # waits of the requests that have left
        ("batches", np.int64),  # that have completed, of one request or more
        ("samples", np.int64),  # of the requests that have completed
        ("completions", np.int64),  # of the cohort
        ("window_fairness", np.float64),  # sums over windows of WINDOW completions of the cohort: smallest over largest progress
        ("window_jain", np.float64),  # per priority, and Jain's index of progress
        ("recent_progress", np.float64, (WINDOW,)),  # isolated time over turnaround of the cohort's latest completions, in turn
        ("recent_priority", np.float64, (WINDOW,)),  # their priorities
    ],
    align=True,
)
"""What drives a stream and no policy may see."""

PLACE = np.dtype(
    [
        ("entered_cycles", np.int64),  # when the request in this slot entered the table
        ("send_cycles", np.int64),  # when the client of this index sends its next request; NEVER while it waits for one
    ],
    align=True,
)
"""What a stream remembers beside a slot."""

SUMS = np.dtype(
    [
        ("requests", np.int64),
        ("unfinished", np.int64),
        ("priority", np.float64),
        ("turnaround_cycles", np.float64),
        ("isolated_cycles", np.float64),
        ("ntt", np.float64),  # turnaround over isolated time
        ("weighted_ntt", np.float64),  # the same times priority
        ("targets", np.int64),  # SLA targets passed
        ("excess", np.float64),  # NTT beyond the high-priority target, over requests of the highest priority
        ("lost_progress", np.float64),  # 1 - isolated time over age, at least 0
        ("deadlines", np.int64),  # requests that have one
        ("missed", np.int64),  # deadlines passed
        ("impossible", np.int64),  # deadlines that no schedule could have met
        ("tardiness", np.float64),  # time beyond the deadline over isolated time
        ("capped_tardiness", np.float64),  # the same, at most TARDINESS_CAP of a request, times priority
        ("due_priority", np.float64),  # priorities of the requests that have a deadline
        ("in_time", np.int64),  # completed, by the deadline where there is one
    ],
    align=True,
)
"""Sums over requests of a stream; one that hasn't completed counts with its age so far."""

STEP_SUMS, COHORT_SUMS, ALL_SUMS = range(3)
"""Whose: what the present step has added, the cohort's, all requests'."""
