"""What was used, by whom: everything here is a quantity, never credits or money."""

from metering.models.archive import ArchivedMonth
from metering.models.backfill import (
    Backfill,
    BackfillBatch,
    BackfillError,
    BackfillEvent,
    BackfillProposal,
    BackfillState,
)
from metering.models.backfill_run import BackfillRun, BackfillRunState, BackfillWork
from metering.models.customer import Customer, CustomerAlias, Workspace
from metering.models.event import (
    EventBatch,
    EventIdentity,
    EventRejection,
    MeterEvent,
    MeterEventAdjustment,
    QuarantinedEvent,
    QuarantineTry,
)
from metering.models.imports import ImportedLine, ImportRun, ImportState
from metering.models.lag import LagEpisode
from metering.models.late import InvoicedUsage, LateEventPolicy
from metering.models.meter import Aggregation, Meter, MeterVersion
from metering.models.quarantine import (
    QuarantineAssignment,
    QuarantineGroup,
    QuarantineRole,
    QuarantineRun,
    RunKind,
)
from metering.models.repair import AppliedRepair, WindowRepair, WindowRepairItem
from metering.models.window import UsageLevel, UsageWindow

__all__ = [
    "Aggregation",
    "AppliedRepair",
    "ArchivedMonth",
    "Backfill",
    "BackfillBatch",
    "BackfillError",
    "BackfillEvent",
    "BackfillProposal",
    "BackfillRun",
    "BackfillRunState",
    "BackfillState",
    "BackfillWork",
    "Customer",
    "CustomerAlias",
    "EventBatch",
    "EventIdentity",
    "EventRejection",
    "ImportRun",
    "ImportState",
    "ImportedLine",
    "InvoicedUsage",
    "LagEpisode",
    "LateEventPolicy",
    "Meter",
    "MeterEvent",
    "MeterEventAdjustment",
    "MeterVersion",
    "QuarantineAssignment",
    "QuarantineGroup",
    "QuarantineRole",
    "QuarantineRun",
    "QuarantineTry",
    "QuarantinedEvent",
    "RunKind",
    "UsageLevel",
    "UsageWindow",
    "WindowRepair",
    "WindowRepairItem",
    "Workspace",
]
