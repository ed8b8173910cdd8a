"""Models of collection, by topic; the names that other packages use most stand here, too."""

from __future__ import annotations

from collectors.models import market_data as depth_models  # noqa: F401 - Django finds models here
from collectors.models.currencies import CalmPair as CalmPair
from collectors.models.currencies import CurrencyValue as CurrencyValue
from collectors.models.gaps import TO_FILL as TO_FILL
from collectors.models.gaps import TO_FILL_SQL as TO_FILL_SQL
from collectors.models.gaps import Gap as Gap
from collectors.models.gaps import GapCause as GapCause
from collectors.models.gaps import GapState as GapState
from collectors.models.history import Coverage as Coverage
from collectors.models.history import Rollup as Rollup
from collectors.models.imports import HistoryImport as HistoryImport
from collectors.models.imports import ImportState as ImportState
from collectors.models.parts import PartOutage as PartOutage
from collectors.models.pipelines import Origin as Origin
from collectors.models.pipelines import Pipeline as Pipeline
from collectors.models.pipelines import PipelineQuerySet as PipelineQuerySet
from collectors.models.pipelines import Tick as Tick
from collectors.models.progress import Backfill as Backfill
from collectors.models.progress import ProcessLease as ProcessLease
from collectors.models.progress import Watermark as Watermark
from collectors.models.runs import Outcome as Outcome
from collectors.models.runs import Run as Run
from collectors.models.runs import RunTransport as RunTransport
from collectors.models.transports import Stream as Stream
from collectors.models.transports import Switch as Switch
from collectors.models.workers import Transition as Transition
from collectors.models.workers import Worker as Worker
from collectors.models.workers import WorkerStatus as WorkerStatus
