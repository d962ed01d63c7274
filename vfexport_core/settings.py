"""Configuration: frozen, read once from the environment (and ``.env``), refused at start when wrong.

Nothing is read at import time. ``load_settings`` raises `ConfigurationError` that names every wrong variable.
"""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from vfexport_core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "VFEXPORT_"
SECRETS_DIR = f"{PREFIX}SECRETS_DIR"

DEFAULT_REGIONS = {"US": "NA", "CA": "NA", "MX": "NA", "GB": "UK", "IE": "UK"}
DEFAULT_SFMC_LOCALES = {"en-mx": "en-us", "en-uk": "en-gb", "en-ie": "en-gb", "en-nz": "en-au"}
DEFAULT_SFMC_PREFIX = "{Region}/DM_ArtistPresale"

DELETION_LOOKUP_BATCH = 1_000

_OFF = frozenset({"0", "false", "no", "off"})

ReadPreferenceName = Literal["primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest"]
# As in the option readPreferenceTags of MongoDB's addresses.
_TAGS = r"^[^:,]+:[^:,]*(,[^:,]+:[^:,]*)*$"

_WEB_ADDRESS = r"^https?://[!-~]+$"

# The keys of tables, in the case in which documents are compared with them: a row in another case would never apply.
_CountryCode = Annotated[str, StringConstraints(to_upper=True, min_length=1)]
_Locale = Annotated[str, StringConstraints(to_lower=True, min_length=1)]

# S3's own rules for bucket names; a wrong one would only show at the first delivery.
BucketName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]


class BucketSettings(BaseModel):
    """One bucket: its name, and how to reach it where the AWS default chain is not enough."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: BucketName
    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    role_arn: str | None = None
    external_id: str | None = None
    """What the role's trust policy asks of whoever assumes it, where it belongs to another account."""
    sse_kms_key_id: str | None = None
    """The KMS key that files are encrypted with; without it the bucket's own default encryption holds."""
    bucket_key: bool | None = None
    """Whether S3 asks KMS once for many files; None: as the bucket says."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.external_id is not None and self.role_arn is None:
            raise ValueError("EXTERNAL_ID has no meaning without ROLE_ARN")
        if self.bucket_key is not None and self.sse_kms_key_id is None:
            raise ValueError("BUCKET_KEY has no meaning without SSE_KMS_KEY_ID")
        return self


class RunResources(BaseModel):
    """What the pod of a run is given, in the units of Kubernetes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cpu: Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?m?$")]
    memory: Annotated[str, Field(pattern=r"^[0-9]+(Mi|Gi)$")]


NotificationType = Literal[
    "export.finished", "export.failed", "export.expired", "export.canceled", "worker.lost", "deletion.late"
]
NOTIFICATION_TYPES: tuple[NotificationType, ...] = get_args(NotificationType)

WebhookName = Annotated[str, Field(pattern=r"^[a-z0-9]+([_-][a-z0-9]+)*$", max_length=32)]
_SECRET_PREFIX = "whsec_"  # noqa: S105 how each begins
_KEY_BYTES = range(24, 65)


def _listed(value: object) -> object:
    """Return the list in a variable's text: JSON, or, where it begins as no list does, the only member."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return (value,)
    try:
        return json.loads(value)
    except ValueError:
        raise ValueError('must be a JSON list, as ["one", "two"], or one plain text') from None


class WebhookSettings(BaseModel):
    """A receiver of notifications."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: SecretStr
    """Where messages are posted to. A secret: who knows a webhook's address of Slack can post there."""
    format: Literal["standard", "slack"] = "standard"
    """``standard``: JSON by the Standard Webhooks scheme; ``slack``: the text that Slack's webhooks take."""
    secrets: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_listed)] = ()
    """Each message is signed with all of them, so that a receiver can be given a new one while it knows the old."""
    events: Annotated[tuple[NotificationType, ...], NoDecode, BeforeValidator(_listed)] = NOTIFICATION_TYPES
    allow_private: bool = False
    """Whether its host may have private and loopback addresses."""
    allow_http: bool = False
    """Whether it may be http, which anybody on the way can read."""

    @model_validator(mode="after")
    def _can_be_used(self) -> Self:
        url = self.url.get_secret_value()
        plain = "URL must have no user, no fragment, and nothing but printable ASCII"
        if not (url.isascii() and url.isprintable()) or " " in url:
            raise ValueError(plain)
        schemes = ("https", "http") if self.allow_http else ("https",)
        wrong = f"URL must be an address that begins with {' or '.join(schemes)}:// and a host"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # its text repeats a part of the address
            raise ValueError(wrong) from None
        if parts.scheme not in schemes or not parts.hostname or port == 0:
            raise ValueError(wrong)
        if parts.username is not None or parts.fragment:
            raise ValueError(plain)
        if self.format == "standard" and not self.secrets:
            raise ValueError("SECRETS must have one at least: a receiver cannot tell otherwise who sends")
        for secret in self.secrets:
            webhook_key(secret.get_secret_value())
        return self


def webhook_key(secret: str) -> bytes:
    """Return the key in a secret of the Standard Webhooks scheme; raises ValueError for what is none."""
    wrong = f"each of SECRETS must be {_SECRET_PREFIX} and 24 to 64 bytes in base64"
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        raise ValueError(wrong) from None
    if not secret.startswith(_SECRET_PREFIX) or len(key) not in _KEY_BYTES:
        raise ValueError(wrong)
    return key


class BucketsSettings(BaseModel):
    """The four buckets of the catalog; one that is not configured is refused when an export needs it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exports: BucketSettings | None = None
    scoring: BucketSettings | None = None
    vf_scoring: BucketSettings | None = None
    sfmc: BucketSettings | None = None


class Settings(BaseSettings):
    """All settings of 06-running; units are in the names."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", env_file=".env", extra="ignore", frozen=True
    )

    secrets_dir: str | None = None
    """A folder of files, each named like a variable and holding its value; variables of the environment go first."""
    mongo_uri: SecretStr
    mongo_database: str = Field(default="verifiedfan", min_length=1, max_length=63, pattern=r'^[^/\\. "$*<>:|?]+$')
    mongo_tls_ca_file: str | None = None
    """Certificates (PEM) of whoever signed those of MongoDB; TLS is on then."""
    mongo_tls_certificate_file: str | None = None
    """This service's own certificate with its key (PEM), which MongoDB may ask for, or know its user by."""
    mongo_auth_mechanism: Literal["MONGODB-X509", "MONGODB-AWS"] | None = None
    """How this service says who it is, where that is not a name and a password in the address."""
    buckets: BucketsSettings = BucketsSettings()
    timeout_millis: int = Field(default=1_800_000, ge=1_000, le=86_400_000)
    lease_seconds: float = Field(default=60, ge=0.5, le=600)
    """How long a worker that is not heard of keeps its export; it renews its lease five times as often."""
    auto_retries: int = Field(default=2, ge=0, le=20)
    """How often in a row an export that a passing fault ended (a lost worker, MongoDB or S3 away) is run again."""
    auto_retry_seconds: float = Field(default=15, ge=0, le=900)
    """The pause before the first of these attempts; four times as long before each more, 15 minutes at most."""
    polling_interval_millis: int = Field(default=1_000, ge=10, le=60_000)
    signed_url_seconds: int = Field(default=900, ge=1, le=604_800)
    max_rows_per_file: int = Field(default=500_000, ge=1)
    sample_rows: int = Field(default=5, ge=1)
    lookup_batch: int | None = Field(default=None, ge=1, le=10_000)
    """Ids in one look-up query; by default as many as a batch of the scan has documents."""
    format_processes: int | None = Field(default=None, ge=1, le=64)
    """How many processes make the rows of an export; by default as many as there are processors for it, 8 at most."""
    format_processes_from: int = Field(default=200_000, ge=0)
    """How many documents an export must have before others than its own process are started."""
    scan_read_preference: ReadPreferenceName = "primary"
    """Which members of the replica set scans and look-ups read; what decides anything is read from the primary."""
    scan_read_tags: Annotated[str, Field(pattern=_TAGS)] | None = None
    """Tags that such a member must have: ``nodeType:ANALYTICS,region:us``."""
    scan_max_staleness_seconds: Annotated[int, Field(ge=90, le=86_400)] | None = None
    """How far a secondary may lag behind to be read."""
    formula_guard: bool = True
    spool_max_bytes: int = Field(default=16 * 2**30, ge=2**20)
    storage_stall_seconds: float = Field(default=120, ge=0.1, le=3_600)
    """How long an attempt goes on asking a bucket for which nothing succeeds."""
    jwt_public_key: str | None = None
    jwt_jwks_url: str | None = None
    jwt_issuer: str | None = None
    jwt_audience: str | None = None
    ccpa_hash_key: SecretStr | None = None
    ccpa_previous_hash_keys: tuple[SecretStr, ...] = ()
    """Former values of `ccpa_hash_key`: files that were delivered under them are found by deletions."""
    retention_days: int | None = Field(default=None, ge=1, le=36_500)
    """After so many days from its end an export and its files may be taken away; None: never."""
    audit_days: int = Field(default=400, ge=1, le=36_500)
    """How long it is kept who asked for, cancelled, retried, downloaded and deleted what."""
    forked_runs: bool = True
    """Whether Dagster's code location forks runs (``vfexport_dagster.startup``), which reads it by itself."""
    dagster_adapted: bool = True
    """Whether Dagster's programs and runs are adapted (``vfexport_dagster.startup``), which reads it by itself."""
    prompt_dequeuing: bool = True
    """Whether Dagster's daemon launches the next run as soon as one ends, which reads it by itself."""
    run_resources: dict[str, RunResources] = {}
    """By export type, for runs that are Jobs of a cluster (``services.run_resources`` reads it by itself)."""
    log_format: Literal["auto", "json", "text"] = "auto"
    """How log lines look; ``auto``: JSON unless stderr is a terminal."""
    api_drain_seconds: float = Field(default=0, ge=0, le=300)
    """How long the API, told to end, goes on answering, while `/ready` says that it is not ready any more."""
    oidc_client_id: str | None = None
    """The client as which the administrators' page signs in at `jwt_issuer`; without it a token is pasted."""
    oidc_scope: str = "openid"
    webhooks: dict[WebhookName, WebhookSettings] = {}
    """Who is told of exports that end, by a name for each."""
    page_url: Annotated[str, Field(pattern=_WEB_ADDRESS)] | None = None
    """Where people find the administrators' page; notifications link to it."""
    dagster_url: Annotated[str, Field(pattern=_WEB_ADDRESS)] | None = None
    """Where people find the Dagster UI; notifications link to runs in it."""
    admin_page: bool = True
    """Whether the API serves the administrators' page at ``/``."""
    dev_mode: bool = False
    dev_private_key: SecretStr | None = None
    """Signs `/dev/token`'s tokens in dev mode (PEM, EC P-256); without it each API process makes a key of its own."""
    regions: dict[_CountryCode, Annotated[str, Field(min_length=1)]] = DEFAULT_REGIONS
    sfmc_locales: dict[_Locale, Annotated[str, Field(min_length=1)]] = DEFAULT_SFMC_LOCALES
    sfmc_prefixes: dict[str, str] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 it knows no nested settings
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, dotenv_settings, _SecretFiles(settings_cls)

    @property
    def deletion_lookup_batch(self) -> int:
        """Ids in one look-up query of a CCPA deletion, which has no scan."""
        return self.lookup_batch or DELETION_LOOKUP_BATCH

    @property
    def scan_tags(self) -> dict[str, str]:
        pairs = (self.scan_read_tags or "").split(",")
        return dict(pair.split(":", 1) for pair in pairs if pair)

    @field_validator("scan_read_tags", "scan_max_staleness_seconds")
    @classmethod
    def _needs_secondaries(cls, value: object, info: ValidationInfo) -> object:
        if value is not None and info.data.get("scan_read_preference") == "primary":
            raise ValueError(f"has no meaning while {PREFIX}SCAN_READ_PREFERENCE is primary")
        return value


class _SecretFiles(EnvSettingsSource):
    """Reads the files of VFEXPORT_SECRETS_DIR as if each were a variable of its name."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return _read_secrets()


def _read_secrets() -> dict[str, str | None]:
    folder = os.environ.get(SECRETS_DIR)
    if not folder:
        return {}
    try:
        files = [path for path in Path(folder).iterdir() if path.name.startswith(PREFIX) and path.is_file()]
        return {path.name.lower(): path.read_text().rstrip("\r\n") for path in files}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{SECRETS_DIR}: its files cannot be read: {type(error).__name__}", payload=SECRETS_DIR
        ) from None


def load_settings(env_file: str | Path | None = ".env", **overrides: Any) -> Settings:
    """Read the settings from the environment and `env_file`.

    Understanding them takes far longer than reading them, so whoever reads the same as the last time is given the same.
    Raises `ConfigurationError` naming each wrong variable; values are not repeated, since they may be secrets.
    """
    if overrides:
        return _understand(env_file, **overrides)
    read = _read_all(env_file)
    for known, settings in _last:
        if known == read:
            return settings
    settings = _understand(env_file)
    _last[:] = [(read, settings)]
    return settings


_last: list[tuple[object, Settings]] = []
"""What was read last, and the settings that it means; also for the processes that are forked from this one."""


def _read_all(env_file: str | Path | None) -> object:
    """Return all that settings are made of, to be compared. Raises ConfigurationError, OSError."""
    path = None if env_file is None else Path(env_file).expanduser()
    file = path.read_bytes() if path is not None and path.is_file() else b""
    # A value in the file may name any variable: ${HOME}.
    prefix = "" if b"$" in file else PREFIX
    variables = {name: value for name, value in os.environ.items() if name.upper().startswith(prefix)}
    return file, variables, _read_secrets()


def _understand(env_file: str | Path | None, **overrides: Any) -> Settings:
    try:
        return Settings(_env_file=env_file, **overrides)  # pyright: ignore[reportCallIssue] accepted by BaseSettings
    except ValidationError as error:
        problems = [f"{_variable(item['loc'])}: {item['msg']}" for item in error.errors(include_input=False)]
        raise ConfigurationError("; ".join(problems), payload=_variable(error.errors()[0]["loc"])) from None
    except ValueError as error:
        # pydantic-settings raises its own error, with the field's name, for JSON that does not parse.
        field = re.search('field "([a-z_]+)"', str(error))
        variable = PREFIX + (field[1].upper() if field else "*")
        raise ConfigurationError(f"{variable} is not JSON, as lists and objects must be", payload=variable) from None


def is_switched_off(switch: str) -> bool:
    """Return whether the environment alone, for what is decided before there are settings, switches something off."""
    return os.environ.get(f"{PREFIX}{switch}", "true").lower() in _OFF


def may_have_webhooks() -> bool:
    """Return whether webhooks are set in the environment, or whether it cannot be known: a variable is wrong."""
    try:
        return bool(load_settings().webhooks)
    except ConfigurationError:
        return True


def _variable(location: tuple[int | str, ...]) -> str:
    """Return the environment variable that a validation error's location came from."""
    return PREFIX + "__".join(str(part).upper() for part in location)
