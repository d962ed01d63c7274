"""The administrators' page, and what it asks besides the API itself; part of the app unless a setting says no."""

# No postponed annotations here: FastAPI reads them when a route is declared.

from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from vfexport_core.api.container import AppContainer, ContainerOf
from vfexport_core.api.dependencies import CallerOf, CampaignId, bearer_token
from vfexport_core.api.page.feed import EventResponse, ExportFeed, FeedLimits
from vfexport_core.api.presenters import export_out, outlooks_of
from vfexport_core.errors import RouteNotFound
from vfexport_core.sources.campaigns import find_wave_keys, names_of_campaigns, newest_campaigns

if TYPE_CHECKING:
    from vfexport_core.api.page.sign_in import SignIn

_PACKAGE = "vfexport_core.api.page"
_PAGE = "index.html"
_MEDIA_TYPES = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_ASSETS = ("main.js", "api.js", "dom.js", "live.js", "oidc.js", "table.js", "style.css", "icon.svg")
# All is from here, nothing is inline, no form goes anywhere, and nobody puts the page into a frame. What is asked of
# others is the issuer's token, where one signs in there.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src {connect};"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SHOWN_EXPORTS = 50
_OFFERED_CAMPAIGNS = 200
_LONGEST_INTERVAL = 15.0

router = APIRouter(include_in_schema=False)


def open_feed(container: AppContainer) -> ExportFeed:
    """Return the streams of an app."""

    def look(campaign_id: str) -> list[dict[str, Any]]:
        exports = container.queue.list(campaign_id=campaign_id, limit=_SHOWN_EXPORTS)
        outlooks = outlooks_of(exports, container)
        return [
            export_out(export, outlook=outlook).model_dump(mode="json")
            for export, outlook in zip(exports, outlooks, strict=True)
        ]

    # The page takes a stream that is silent for longer than two of the longest for a lost one.
    interval = min(_LONGEST_INTERVAL, max(1.0, container.settings.polling_interval_millis / 1_000))
    return ExportFeed(look, FeedLimits(interval_seconds=interval))


@router.get("/")
def show_page(request: Request, container: ContainerOf) -> Response:
    """Return the page; it knows nothing that needs a token."""
    sign_in: SignIn | None = request.app.state.sign_in.find()
    dev_mode = str(container.access.signer is not None).lower()
    oidc = "" if sign_in is None else escape(sign_in.as_json())
    html = _asset(_PAGE).replace(
        b'data-dev-mode="false" data-oidc=""', f'data-dev-mode="{dev_mode}" data-oidc="{oidc}"'.encode()
    )
    connect = "'self'" if sign_in is None else f"'self' {sign_in.token_origin}"
    headers = {"Content-Security-Policy": _POLICY.format(connect=connect), "Referrer-Policy": "no-referrer"}
    return Response(html, media_type=_MEDIA_TYPES["html"], headers=headers)


@router.get("/page/session")
def show_session(container: ContainerOf, caller: CallerOf) -> dict[str, Any]:
    """Return who is signed in, the campaigns that may be chosen (the newest, where all may), and the types."""
    ids = caller.reportable_campaigns()
    limits = container.backend.limits
    if ids is None:
        campaigns = newest_campaigns(container.database, _OFFERED_CAMPAIGNS, limits)
    else:
        campaigns = names_of_campaigns(container.database, sorted(ids)[:_OFFERED_CAMPAIGNS], limits)
    return {
        "userId": caller.user_id,
        "campaigns": [{"id": campaign_id, "name": name} for campaign_id, name in campaigns],
        "types": [
            {
                "type": spec.type,
                "summary": spec.summary,
                "needsDateKey": spec.needs_date_key,
                "hasAdditionalMarkets": spec.has_additional_markets,
            }
            for spec in container.catalog.all()
        ],
    }


@router.get("/page/campaigns/{campaignId}/waves")
def list_waves(container: ContainerOf, campaign_id: CampaignId) -> list[str]:
    """Return the keys of the campaign's waves; none when there is no time to find them."""
    container.backend.campaign(campaign_id)
    return find_wave_keys(container.database, campaign_id, quickly=True)


@router.get("/page/campaigns/{campaignId}/events")
def follow_exports(
    request: Request, container: ContainerOf, caller: CallerOf, campaign_id: CampaignId
) -> EventResponse:
    """Stream the campaign's newest exports, now and whenever they change, as long as the token is good."""
    container.backend.campaign(campaign_id)
    feed: ExportFeed = request.app.state.feed
    token = bearer_token(request)

    def check_access() -> None:
        container.access.verifier.verify(token).require_report(campaign_id)

    return EventResponse(feed, campaign_id, caller.user_id, check_access)


@router.get("/page/{name}")
def show_asset(name: str) -> Response:
    """Return one of the files that the page needs."""
    if name not in _ASSETS:
        raise RouteNotFound("there is nothing at this path")
    return Response(_asset(name), media_type=_MEDIA_TYPES[name.rpartition(".")[2]])


@cache
def _asset(name: str) -> bytes:
    return (resources.files(_PACKAGE) / "static" / name).read_bytes()
