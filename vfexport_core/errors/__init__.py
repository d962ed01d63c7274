"""Every error of the service, in one tree.

::

    VfexportError
    ├── PermanentError                trying again changes nothing
    │   ├── ConfigurationError        a setting is missing or wrong
    │   │   └── HashKeyMissing        a CCPA deletion needs the key that user ids are hashed with
    │   ├── InitialisationFailed      an index or documents that exist are in the way of the queue's rules
    │   ├── EmbeddedServerFailed      a server of the demo or the tests did not come up
    │   ├── CheckoutOnly              a command needs what an installed package does not have
    │   ├── RequestError              400
    │   │   ├── InvalidExportType
    │   │   ├── MissingDateKey
    │   │   ├── InvalidDateKey
    │   │   ├── UnknownDateKey        no code of the campaign belongs to this wave
    │   │   ├── InvalidRequest
    │   │   │   └── RequestTooLarge   413
    │   │   └── MethodNotAllowed      405
    │   ├── AccessError
    │   │   ├── Unauthenticated       401
    │   │   └── MissingPermissions    403
    │   ├── NotFoundError             404
    │   │   ├── CampaignNotFound
    │   │   ├── ExportNotFound
    │   │   └── RouteNotFound         no such path in the API
    │   ├── ConflictError             409
    │   │   ├── CampaignExists        a synthetic campaign is loaded already
    │   │   ├── ExportNotRetryable
    │   │   ├── ExportNotCancelable
    │   │   ├── ExportNotFinished     a file is asked for that is not delivered
    │   │   ├── ExportNotClaimable    a run asked for an export that is not PENDING
    │   │   └── LeaseLost             a run no longer owns its export (L6)
    │   ├── ExportExpired             an export took longer than timeoutMillis (L4)
    │   ├── ExportCanceled            an export was cancelled while somebody waited for it
    │   ├── RunFailed                 a run failed before it could say why
    │   ├── FileDiffers               a delivered file is not what was recorded
    │   ├── ListenFailed              a server cannot listen on the address that it was given
    │   ├── OutputFailed              a file on this machine cannot be written
    │   ├── RestoreRefused            a backup is not whole, or would be mixed with what is there
    │   ├── NoMarketsFound            the export ends FAILED
    │   ├── PromotersNotFound         the export ends FAILED
    │   ├── AddressRefused            a webhook's host has an address that is not allowed
    │   ├── WebhookGone               a webhook answered that it is there no longer
    │   ├── SpoolFull                 a split export needs more temporary space than it may have
    │   ├── SourceMissing             a collection that rows come from does not exist
    │   └── DeliveryRefused           S3 says no: a missing permission, bucket or key
    └── TransientError                trying again may help
        ├── QueueBusy                 another export is TRIGGERED (L2)
        │   └── QueuePaused           nothing is claimed until the queue is resumed
        ├── NotInitialized            503: `vfexport init` was not run
        ├── SourceUnavailable         MongoDB still failing after retries
        ├── DeliveryFailed            S3 still failing after retries
        │   └── BucketHangs           it does not even answer
        ├── NotificationFailed        a webhook did not take a message
        ├── WorkerLost                the process that ran an export is gone
        ├── KeysUnavailable           503: the keys that tokens are checked with cannot be fetched
        ├── NotReady                  503: MongoDB or a bucket does not answer the readiness check
        └── DeleteFailed              500: CCPA deletion incomplete

Each class says its wire ``code``, its HTTP ``status`` and, in ``hint``, what a person can do about it. ``payload``
names the thing that failed (an id, a field, a bucket): never a token, a credential or a fan's data.
"""

from vfexport_core.errors.base import (
    INTERNAL_CODE,
    PermanentError,
    TransientError,
    VfexportError,
    error_class,
    error_document,
    error_report,
)
from vfexport_core.errors.request_errors import (
    AccessError,
    CampaignExists,
    CampaignNotFound,
    ConflictError,
    DeleteFailed,
    ExportNotCancelable,
    ExportNotClaimable,
    ExportNotFinished,
    ExportNotFound,
    ExportNotRetryable,
    InvalidDateKey,
    InvalidExportType,
    InvalidRequest,
    KeysUnavailable,
    LeaseLost,
    MethodNotAllowed,
    MissingDateKey,
    MissingPermissions,
    NotFoundError,
    NotReady,
    RequestError,
    RequestTooLarge,
    RouteNotFound,
    Unauthenticated,
    UnknownDateKey,
)
from vfexport_core.errors.run_errors import (
    AddressRefused,
    BucketHangs,
    CheckoutOnly,
    ConfigurationError,
    DeliveryFailed,
    DeliveryRefused,
    EmbeddedServerFailed,
    ExportCanceled,
    ExportExpired,
    FileDiffers,
    HashKeyMissing,
    InitialisationFailed,
    ListenFailed,
    NoMarketsFound,
    NotificationFailed,
    NotInitialized,
    OutputFailed,
    PromotersNotFound,
    QueueBusy,
    QueuePaused,
    RestoreRefused,
    RunFailed,
    SourceMissing,
    SourceUnavailable,
    SpoolFull,
    WebhookGone,
    WorkerLost,
)

__all__ = [
    "INTERNAL_CODE",
    "AccessError",
    "AddressRefused",
    "BucketHangs",
    "CampaignExists",
    "CampaignNotFound",
    "CheckoutOnly",
    "ConfigurationError",
    "ConflictError",
    "DeleteFailed",
    "DeliveryFailed",
    "DeliveryRefused",
    "EmbeddedServerFailed",
    "ExportCanceled",
    "ExportExpired",
    "ExportNotCancelable",
    "ExportNotClaimable",
    "ExportNotFinished",
    "ExportNotFound",
    "ExportNotRetryable",
    "FileDiffers",
    "HashKeyMissing",
    "InitialisationFailed",
    "InvalidDateKey",
    "InvalidExportType",
    "InvalidRequest",
    "KeysUnavailable",
    "LeaseLost",
    "ListenFailed",
    "MethodNotAllowed",
    "MissingDateKey",
    "MissingPermissions",
    "NoMarketsFound",
    "NotFoundError",
    "NotInitialized",
    "NotReady",
    "NotificationFailed",
    "OutputFailed",
    "PermanentError",
    "PromotersNotFound",
    "QueueBusy",
    "QueuePaused",
    "RequestError",
    "RequestTooLarge",
    "RestoreRefused",
    "RouteNotFound",
    "RunFailed",
    "SourceMissing",
    "SourceUnavailable",
    "SpoolFull",
    "TransientError",
    "Unauthenticated",
    "UnknownDateKey",
    "VfexportError",
    "WebhookGone",
    "WorkerLost",
    "error_class",
    "error_document",
    "error_report",
]
