"""The HTTP base of the four services: `create_app`, access control, transactions, problems.

A service's `app.py` calls `create_app`; its `api.py` uses the rest. No module here names a service.
"""

from shared.runtime.schemas import RequestSchema as RequestSchema
from shared.runtime.schemas import ResponseSchema as ResponseSchema
from shared.web.access import caller as caller
from shared.web.access import large as large
from shared.web.access import optional_token as optional_token
from shared.web.access import public as public
from shared.web.access import scope as scope
from shared.web.app import create_app as create_app
from shared.web.requests import Blueprint as Blueprint
from shared.web.state import database as database
from shared.web.state import settings as settings
from shared.web.transactions import grouped as grouped
from shared.web.transactions import idempotent as idempotent
from shared.web.transactions import reading as reading
from shared.web.transactions import transaction as transaction
