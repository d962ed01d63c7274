"""The query of the export list."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from vfexport_core.queue.models import ExportStatus

LARGEST_PAGE = 200
DEFAULT_PAGE = 50


def _whole_number(value: Any) -> Any:
    """Let only digits through: pydantic would also read ``5.0``, ``1_0`` and blanks as integers."""
    if isinstance(value, str) and not re.fullmatch("[0-9]{1,9}", value):
        raise ValueError("must be a whole number")
    return value


class ListQuery(BaseModel):
    """Which exports of the campaign are listed, in which order, from where on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    export_type: str | None = Field(default=None, alias="exportType", description="Only exports of this type.")
    status: ExportStatus | None = Field(default=None, description="Only exports in this state.")
    sort: Literal["created", "date.created"] = Field(
        default="created", description="By date of creation, then id: the order of the queue."
    )
    sort_dir: Literal["asc", "desc"] = Field(default="desc", alias="sortDir", description="`desc` is newest first.")
    limit: Annotated[int, BeforeValidator(_whole_number)] = Field(
        default=DEFAULT_PAGE, ge=1, le=LARGEST_PAGE, description="How many exports a page has at most."
    )
    cursor: str | None = Field(
        default=None, description="From the `Link` header of the page before, with the same other parameters."
    )

    @property
    def descending(self) -> bool:
        return self.sort_dir == "desc"

    def list_scope(self, campaign_id: str) -> str:
        """Name the list that a cursor belongs to: everything but the size of its pages."""
        return "|".join((campaign_id, self.export_type or "", self.status or "", self.sort_dir))

    def parameters(self) -> dict[str, str]:
        """Give the parameters as they were sent, without the cursor."""
        sent = self.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude={"cursor"})
        return {name: str(value) for name, value in sent.items() if value is not None}
