"""Every statement that writes a gap, in the order of its life; nobody else writes the table `collectors_gap`.

It begins   `open_silent`, by a sweep, while the silence lasts;
            CLOSED, by the row that ends it, where no sweep came in between.
It ends     CLOSED, by the next row, in the statement that stores the row;
            `end_of_exchange`, when an operator stops its exchange;
            `end_of_markets`, when an operator or a filter takes its market out;
            `end_of_delisted`, when the exchange no longer lists its market;
            `end_of_halts`, when the exchange trades its market again;
            `end_orphans`, where the pipeline has lost its mark;
            `correct`, sooner, by a row that was under way while the market was taken out.
It is none  `correct` withdraws it: the row that ended the silence in time was committed a moment later.
Its cause   a first guess where it begins; `record_causes`, from all runs of the silence.
Filled      `claim`, `note_filled`, `note_nothing`, `put_off`, `release`, `ask_again`, `expire`.
Its time    `take_back`, where a clock ran ahead: what begins in the future was none, what ends there still lasts.
Forgotten   long after its end, see `collectors/retention.py`.

A silence counts from the pipeline's newest row, or from its or its worker's `resumed_at` where that is later; of a
market that never came, from when it was listed, once two polls have stored others. Each
pipeline carries a mark (`gap_open`) and a count (`gaps_24h`) of its gaps, without those whose cause is UNCOUNTED. The
statements here keep both, except that `sweep` takes gaps out of the count when they are a day old.

Each part of that life is a module of this package.
"""

from __future__ import annotations

from collectors.gaps.ledger.beginnings import open_silent as open_silent
from collectors.gaps.ledger.beginnings import open_silent_of_exchange as open_silent_of_exchange
from collectors.gaps.ledger.beginnings import open_silent_of_markets as open_silent_of_markets
from collectors.gaps.ledger.ends import end_of_delisted as end_of_delisted
from collectors.gaps.ledger.ends import end_of_exchange as end_of_exchange
from collectors.gaps.ledger.ends import end_of_halts as end_of_halts
from collectors.gaps.ledger.ends import end_of_markets as end_of_markets
from collectors.gaps.ledger.ends import end_orphans as end_orphans
from collectors.gaps.ledger.filling import ask_again as ask_again
from collectors.gaps.ledger.filling import claim as claim
from collectors.gaps.ledger.filling import expire as expire
from collectors.gaps.ledger.filling import final_state as final_state
from collectors.gaps.ledger.filling import note_filled as note_filled
from collectors.gaps.ledger.filling import note_nothing as note_nothing
from collectors.gaps.ledger.filling import put_off as put_off
from collectors.gaps.ledger.filling import release as release
from collectors.gaps.ledger.rows import CLOSED as CLOSED
from collectors.gaps.ledger.rows import ENDED_SILENCE as ENDED_SILENCE
from collectors.gaps.ledger.rows import MARKED as MARKED
from collectors.gaps.ledger.rows import MUST_CORRECT as MUST_CORRECT
from collectors.gaps.ledger.rows import correct as correct
from collectors.gaps.ledger.times import GAP_CURSOR as GAP_CURSOR
from collectors.gaps.ledger.times import count_anew as count_anew
from collectors.gaps.ledger.times import take_back as take_back
from collectors.gaps.ledger.verdicts import JudgedCause as JudgedCause
from collectors.gaps.ledger.verdicts import judge_anew as judge_anew
from collectors.gaps.ledger.verdicts import record_causes as record_causes
