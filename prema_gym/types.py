"""The vocabulary: record types of everything that compiled code shares, with shape, unit and sentinel at every field.

Units are in the names: ``_cycles``, ``_bytes``. A field that names a record (``program``, ``task``, ``block``, ``running_slot``,
``first_run``) holds its row in that table; -1 means none. Sizes are N rows, M NPUs and T slots in each, n tasks of an episode, C
distinct configurations of NPUs.
"""

from __future__ import annotations

import numpy as np

NONE = -1
"""Sentinel of indices, and of cycles of what has not happened yet."""
NEVER = np.iinfo(np.int64).max
"""Sentinel of a cycle that never comes."""

# --- Compiled programs (hardware/program.py builds them, sim/programs.py reads them) -------------------------------------------
#
# program -> segments -> block -> runs. A run is a stretch of operations that commit at equal distances with equal costs. A block is
# a stretch of runs (a layer, or one step of a loop), shared by every program that contains it. A segment plays a block ``repeats``
# times. Positions are cycles of undisturbed execution since the program's cold start.

RUN = np.dtype(
    [
        ("start_cycles", np.int64),  # position, in its block, of the commit before the run's first
        ("start_point", np.int32),  # points of the block before this run
        ("step_cycles", np.int32),  # between commits: the j-th (from 0) is at start_cycles + (j + 1) * step_cycles
        ("save_bytes", np.int32),  # context to save after each of these points, on top of the segment's base
        ("restore_bytes", np.int32),  # context to restore, likewise
        ("refill_cycles", np.int32),  # what the empty pipeline takes beyond running on
        ("points", np.int32),  # how many points the run holds
    ]
)

BLOCK = np.dtype(
    [
        ("cycles", np.int64),  # of one pass over the block, from the commit before it to its last commit
        ("points", np.int32),  # preemption points of one pass
        ("first_run", np.int32),  # into the run table
        ("runs", np.int32),
    ]
)

SEGMENT = np.dtype(
    [
        ("start_cycles", np.int64),  # position of the commit before the segment's first
        ("start_point", np.int64),  # points of the program before this segment
        ("repeats", np.int64),  # passes over the block; NEVER in the open loop that ends a program of unknown output length
        ("save_bytes", np.int64),  # base of the first pass
        ("restore_bytes", np.int64),
        ("save_step_bytes", np.int64),  # added to the base at every further pass (a sequence that grows on the chip)
        ("restore_step_bytes", np.int64),
        ("block", np.int32),
    ]
)

PROGRAM = np.dtype(
    [
        ("first_segment", np.int32),  # into the segment table
        ("segments", np.int32),
        ("first_total", np.int32),  # into the table of total cycles: one entry per output length 1, 2, ...
        ("totals", np.int32),  # 1 where the output length is fixed
        ("predicted_cycles", np.int64),  # Algorithm 1 at the predicted output length; policies may see it
        ("length_estimated", np.bool_),  # whether the output length had to be guessed
    ]
)

# --- The simulated machine (sim/ owns these) ---------------------------------------------------------------------------------
#
# What a scheduler may see (STATUS, NPU, SLOT) and what it may not (MACHINE, ENGINE, TASK, TIMES) are separate arrays: code that
# must not know the truth is not handed it.

EMPTY, READY, RUNNING, ELSEWHERE, BOUND, SAVING, BARRED, JOINED = range(8)
"""States of a slot, as the asked NPU sees them (one NPU knows the first three alone).

EMPTY: free. READY: waits, and the asked NPU may take it. RUNNING: on the asked NPU. ELSEWHERE: on another NPU. BOUND: an NPU that
is switching will run it. SAVING: evicted and waiting, its context not in memory yet. BARRED: waits, but not for the asked NPU (it
has progress on another configuration, or this pass does not offer it). JOINED: in the batch that another slot leads.
"""

CHECKPOINT, KILL, DRAIN = 0, 1, 2
"""Mechanisms, in the order of the action columns."""

CAUSE_COMPLETION, CAUSE_ARRIVAL, CAUSE_QUANTUM, CAUSE_READY = 1, 2, 4, 8
"""Bits of the cause of an invocation: everything that happened at its cycle, or during a switch that ended at it."""

ASKING, TERMINATED, TRUNCATED = 0, 1, 2
"""Outcome of advancing a row: a decision is asked, every task has completed, or the horizon has passed."""

NOT_SWITCHING, IN_LATENCY, IN_COMMIT, IN_RUN_OUT, IN_SAVE, IN_RESTORE = range(6)
"""Phases of a switch.

IN_LATENCY: the decision's latency. IN_COMMIT: the running task goes on to its next preemption point. IN_RUN_OUT: it goes on until
it completes. IN_SAVE: its context is saved. IN_RESTORE: the chosen task's context is restored and the pipeline refills.
"""

STATUS = np.dtype(
    [
        ("clock_cycles", np.int64),  # now
        ("dispatch_cycles", np.int64),  # of the asked NPU, as in NPU
        ("last_switch_cycles", np.int64),  # of the asked NPU, as in NPU
        ("last_arrival_cycles", np.int64),
        ("min_log_pp", np.float64),  # over finished tasks: log of 1 / (NTT * priority); 0 where none has finished
        ("max_log_pp", np.float64),
        ("levels", np.uint64),  # bit p - 1 is set where priority p is one of the mix or of the trace
        ("oldest_backlog_cycles", np.int64),  # arrival of the oldest request in the backlog; NONE where the backlog is empty
        ("arrival_gap_cycles", np.float64),  # of a stream: recent mean time between arrivals; 0 before the second, and elsewhere
        ("npu", np.int32),  # which NPU is asked
        ("configuration", np.int32),  # of the asked NPU
        ("running_slot", np.int32),  # of the asked NPU, as in NPU
        ("last_slot", np.int32),  # of the asked NPU, as in NPU
        ("cause", np.int32),  # CAUSE_* bits of the latest invocation
        ("ready", np.int32),  # tasks in state READY
        ("finished", np.int32),
        ("backlog", np.int32),  # requests of a stream that have arrived and wait for a free slot; 0 elsewhere
        ("may_keep", np.bool_),  # whether the asked NPU, idle, may stay so
    ],
    align=True,
)
"""What the scheduler is told with a decision: the row's state and the asked NPU's, one per row; visible to policies."""

NPU = np.dtype(
    [
        ("dispatch_cycles", np.int64),  # when the running task was chosen (under DRAIN: when the NPU came free)
        ("last_switch_cycles", np.int64),  # when the last dispatched task began to run
        ("running_slot", np.int32),  # NONE while nothing is on the NPU
        ("bound_slot", np.int32),  # the chosen task that waits until the NPU is free for it; NONE where there is none
        ("last_slot", np.int32),  # last dispatched slot, NONE before the first
        ("configuration", np.int32),  # index of its hardware configuration
        ("switching", np.bool_),  # whether a switch or a stall is under way: it takes no decision
    ],
    align=True,
)
"""An NPU of a row; visible to policies."""

SLOT = np.dtype(
    [
        ("arrival_cycles", np.int64),
        ("predicted_cycles", np.int64),  # total by Algorithm 1, on the configuration of its progress, else on the asked NPU
        ("deadline_cycles", np.int64),  # NONE where there is none
        ("fastest_predicted_cycles", np.int64),  # the same on the NPU where it is smallest: the token's rate goes by it
        ("executed_cycles", np.int64),  # progress kept so far
        ("waited_cycles", np.int64),  # waiting so far
        ("accounted_cycles", np.int64),  # up to when the wait is in waited_cycles
        ("last_dispatch_cycles", np.int64),  # NONE before the first
        ("token", np.float64),  # Algorithm 2
        ("token_whole_wait", np.float64),  # the other reading of Algorithm 2
        ("saved_bytes", np.int64),  # context in DRAM; 0 where there is none
        ("restore_bytes", np.int64),  # what a restore will move
        ("refill_cycles", np.int64),  # what the pipeline will take to fill again
        ("preemptions", np.int32),
        ("program", np.int32),  # row of the program table
        ("task", np.int32),  # row of TASK: the order of arrival
        ("priority", np.int32),
        ("npu", np.int32),  # the NPU that runs it, is bound to run it or saves its context; NONE where there is none
        ("configuration", np.int32),  # on which it has progress or runs; NONE where there is none
        ("assigned_npu", np.int32),  # a dispatcher's note: where the task is to run; NONE at first. The machine never reads it
        ("state", np.int8),  # EMPTY, READY, RUNNING, ...
        ("length_estimated", np.bool_),
        ("freed", np.bool_),  # whether it became choosable while the NPUs were being asked
    ],
    align=True,
)
"""A row of the inference task context table; visible to policies."""

BATCH = np.dtype(
    [
        ("would_predicted_cycles", np.int64),  # total on the asked NPU, if the slot were dispatched now or ran on; else 0
        (
            "would_oldest_cycles",
            np.int64,
        ),  # earliest arrival among those that would run together; else NONE
        ("would_deadline_cycles", np.int64),  # earliest deadline among them; NONE without one
        ("would_weight", np.float64),  # sum over them of priority / predicted cycles on the fastest NPU, each by itself
        ("would_samples", np.int32),
        ("would_members", np.int32),
        ("model", np.int32),  # a number for each network, in the order of the workload
        ("leader", np.int32),  # the slot that leads the batch of two or more that the task is in, or its own; NONE without one
        ("members", np.int32),  # of that batch, the leader included; 0 without one
        ("samples", np.int32),  # of that batch; without one the task's own
        ("longest", np.int32),  # the slot of the member whose input is longest; NONE without a batch
        ("by_age", np.int32),  # the i-th record holds the slot of the i-th oldest task; empty slots come last
    ],
    align=True,
)
"""What a slot has to do with a batch; visible to policies, and there where ``batching`` is more than 1."""

SIZED = np.dtype([("model", np.int32), ("input_length", np.int32), ("samples", np.int32)])
"""What a program is a program of: numbers that tell models apart, the input length (0 without one) and the batch."""

MACHINE = np.dtype(
    [
        ("quantum_due_cycles", np.int64),
        ("horizon_cycles", np.int64),
        ("priority_sum", np.float64),  # over the tasks of the episode; of a stream the expected priority of one request
        ("high_priority", np.int64),  # the highest of the episode's levels: what "hp" means
        ("deadlines", np.int64),  # tasks of the episode that have one
        ("episode_seed", np.uint64),  # 0 where a trace was injected
        ("seed", np.uint64),  # of reset()
        ("episode", np.int64),  # episodes begun since that seed
        ("decisions", np.int64),  # asked in this episode
        ("preemptions", np.int32),
        ("quanta", np.int32),  # expired since the last decision
        ("next_task", np.int32),  # the first that has not arrived
        ("tasks", np.int32),  # n of this episode; of a stream its horizon in requests
        ("ready", np.int32),  # tasks that wait and whose context, if any, is saved
        ("asking_pass", np.int32),  # 1 or 2 while the NPUs are being asked, else 0
        ("next_npu", np.int32),  # the next one to ask in this pass
        ("happened", np.int32),  # CAUSE_* bits of this cycle, or of the switch just made
        ("outcome", np.int32),  # ASKING, TERMINATED, TRUNCATED
        ("events", np.int32),  # filled entries of the log
        ("waiting_only", np.bool_),  # the NPUs that wait for a fuller batch are asked alone: it isn't the quantum's turn
    ],
    align=True,
)
"""What drives a row and no policy may see."""

ENGINE = np.dtype(
    [
        ("phase_end_cycles", np.int64),
        ("dispatch_position_cycles", np.int64),  # executed_cycles of the running task at its dispatch: it must commit beyond it
        ("total_cycles", np.int64),  # true total of the running task on this NPU
        ("chosen_cycles", np.int64),  # when the decision being carried out was made
        ("queued_latency_cycles", np.int64),  # of a decision that waits for the end of the stall before it
        ("save_bytes", np.int64),  # context at the awaited commit
        ("restore_bytes", np.int64),
        ("refill_cycles", np.int64),
        ("useful_cycles", np.int64),
        ("wasted_cycles", np.int64),  # executed, then killed
        ("overhead_cycles", np.int64),  # save, restore, refill, scheduler latency
        ("idle_cycles", np.int64),
        ("phase", np.int32),  # NOT_SWITCHING, IN_LATENCY, ...
        ("mechanism", np.int32),  # of the decision being carried out
        ("evicted_slot", np.int32),  # whose context is being saved
        ("window_cause", np.int32),  # CAUSE_* bits of what has happened during the present switch
        ("offered", np.bool_),  # whether another NPU's switch has freed a task for it at this cycle
        ("live", np.bool_),  # whether it would answer to an expired quantum
    ],
    align=True,
)
"""What drives an NPU and no policy may see."""

REWARD = np.dtype(
    [
        ("settled_progress", np.float64),  # sum of 1/NTT over the tasks that completed in steps already paid for
        ("settled_least", np.float64),  # smallest (1/NTT) / priority of them; infinity where there is none
        ("settled_most", np.float64),  # largest of them; 0 where there is none
        ("progress", np.float64),  # potential behind the reward term "stp" when the latest step ended
        ("fairness", np.float64),  # potential behind "fairness_shaped"
    ],
    align=True,
)
"""What envs/reward.py remembers of a row from step to step."""

TASK = np.dtype(
    [
        ("arrival_cycles", np.int64),
        ("completion_cycles", np.int64),  # NONE while unfinished
        ("isolated_cycles", np.int64),  # true total, on the NPU where it is smallest
        ("predicted_cycles", np.int64),  # likewise
        ("deadline_cycles", np.int64),  # NONE where there is none
        ("program", np.int32),  # on the first configuration
        ("output_length", np.int32),  # 1 where the network has none
        ("priority", np.int32),
        ("request_class", np.int32),  # of the mix; NONE in an injected trace
        ("prediction_factor", np.float64),  # the error in its predictions; 1 where there is none
        ("length_estimated", np.bool_),
    ],
    align=True,
)
"""A task of the episode, in order of arrival: the truth. Of a stream only what is in the table, slot by slot, and then two more:
the request that arrives next, and the one at the head of the backlog."""

TIMES = np.dtype([("isolated_cycles", np.int64), ("predicted_cycles", np.int64), ("program", np.int32)], align=True)
"""A task on one configuration: the truth."""

EVENT_NAMES = ("arrival", "completion", "quantum", "dispatch", "run", "commit", "saved", "kill", "drain", "stall", "join")
"""What the log records.

arrival: enters the table. completion. quantum: asks a decision. dispatch: the NPU is given to the slot, restore and refill start.
run: the slot's operations start. commit: the running operation has committed and execution stops. saved: the context is in DRAM.
kill: progress dropped. drain: the running task is committed to complete. stall: a decision starts to cost scheduler latency.
join: runs in the batch that has just been dispatched.
"""
(
    EVENT_ARRIVAL,
    EVENT_COMPLETION,
    EVENT_QUANTUM,
    EVENT_DISPATCH,
    EVENT_RUN,
    EVENT_COMMIT,
    EVENT_SAVED,
    EVENT_KILL,
    EVENT_DRAIN,
    EVENT_STALL,
    EVENT_JOIN,
) = range(len(EVENT_NAMES))

EVENT = np.dtype([("cycle", np.int64), ("event", np.int32), ("npu", np.int32), ("slot", np.int32), ("task", np.int32)], align=True)
"""An entry of the event log; ``npu`` is NONE for an arrival."""

RULES = np.dtype(
    [
        ("quantum_cycles", np.int64),
        ("scheduler_latency_cycles", np.int64),
        ("decision_every", np.int64),  # quanta; 0: the quantum asks no decision
        ("clock_hz", np.int64),
        ("dram_bytes_per_second", np.int64),  # of the configuration
        ("dram_latency_cycles", np.int64),  # of the configuration
        ("mechanisms", np.int64),  # bit m: mechanism m may evict
        ("levels", np.uint64),  # bit p - 1: the mix has priority p
        ("horizon_requests", np.int64),  # a stream is truncated at this arrival; 0 where an episode is closed
        ("clients", np.int64),  # closed clients that send the requests of a stream; 0 where requests come by themselves
        ("think_cycles", np.float64),  # mean time from a client's completed request to its next one
        ("mean_priority", np.float64),  # expected priority of a drawn request
        ("batching", np.int64),  # most samples of a batch; 1: requests run one by one
        ("allow_idle", np.bool_),  # an idle NPU may stay so while another is busy
        ("has_deadlines", np.bool_),  # requests of the workload have deadlines: observations tell of them
    ],
    align=True,
)
"""The rules that a kernel plays by: one record per distinct configuration of NPUs, alike but for the memory."""

CLASS = np.dtype(
    [
        ("cumulative_weight", np.float64),  # of the classes up to this one; the last one's is the sum
        ("sla", np.float64),  # deadline in multiples of the prediction on the fastest NPU; 0 where it isn't given so
        ("sla_cycles", np.int64),  # deadline in cycles; NONE where it isn't given so
        ("first_mix", np.int32),  # into MIX: one entry for each batch, equally likely
        ("mixes", np.int32),
        ("first_level", np.int32),  # into LEVEL
        ("levels", np.int32),
    ],
    align=True,
)
"""A class of requests, drawn by its weight: its batches, priorities and deadline."""

LEVEL = np.dtype([("cumulative_weight", np.float64), ("priority", np.int64)], align=True)
"""A priority of a class; the weight is that of the class's levels up to this one."""

MIX = np.dtype(
    [
        ("first_program", np.int32),  # program row at ``first_length``
        ("first_length", np.int32),  # the shortest input length that has a program; 0 where the network has no lengths
        ("min_length", np.int32),  # the shortest that is drawn
        ("max_length", np.int32),
        ("max_output", np.int32),  # 1 where the network has no output length
        ("log_median", np.float64),  # of the input length
        ("sigma", np.float64),
        ("ratio", np.float64),  # output length over input length
        ("output_sigma", np.float64),
    ],
    align=True,
)
"""How to draw one model at one batch: lengths and program rows."""

DRAW = np.dtype(
    [
        ("window", np.float64),  # arrivals spread over this many times the sum of isolated times; NaN where they have a rate
        ("gap_cycles", np.float64),  # mean time between arrivals, outside bursts
        ("burst_gap_cycles", np.float64),  # inside bursts
        ("calm_cycles", np.float64),  # mean time between bursts; 0 where there are none
        ("burst_cycles", np.float64),  # mean length of a burst
        ("burst_first", np.float64),  # probability that the first request arrives in a burst
        ("predictor_error", np.float64),
        ("num_tasks", np.int64),
        ("program_stride", np.int64),  # program rows from one configuration to the next
    ],
    align=True,
)
"""How to draw requests and their arrivals."""

ARRIVALS = np.dtype(
    [
        ("cycles", np.int64),  # the latest arrival
        ("turn_cycles", np.int64),  # when the present burst or calm ends; NEVER where there are no bursts
        ("bursting", np.bool_),
    ],
    align=True,
)
"""How far a sequence of arrivals has come."""

# --- What a step returns (envs/step.py fills it) -----------------------------------------------------------------------------


def outcome_dtype(terms: int, metrics: int) -> np.dtype:
    """Return the record of one row's step, for the given numbers of reward terms and metrics."""
    return np.dtype(
        [
            ("reward", np.float64),
            ("elapsed_cycles", np.int64),  # covered by the step
            ("terms", np.float64, (terms,)),
            ("metrics", np.float64, (metrics,)),  # of the episode that ended in this step; NaN where none did
            ("terminated", np.bool_),
            ("truncated", np.bool_),
            ("illegal_action", np.bool_),  # the action was replaced
        ],
        align=True,
    )
