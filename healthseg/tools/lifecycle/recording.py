"""A move made in a portfolio: with what its tables know of the customer, and what the settings say of the stage."""

from __future__ import annotations

from typing import Any

import pandas as pd

from healthseg.metrics.profile import customer_as_of
from healthseg.metrics.stages import history
from healthseg.tools.lifecycle.announce import Announcer
from healthseg.tools.lifecycle.moves import Move, Wish, move


def recorded(portfolio: Any, zone: str, wish: Wish, notify_team: bool) -> Move:
    """Makes a move in the portfolio's ledger, with the messages that it sets off."""
    customer = customer_as_of(portfolio, wish.client_id, portfolio.data_until)
    imported = [one for one in history(portfolio).of(wish.client_id) if not one.seq]
    announce = Announcer(portfolio, customer, zone, notify_team)
    signup = pd.Timestamp(customer["signup_date"]).date()
    return move(
        portfolio.ledger(), imported, zone, signup, portfolio.settings.lifecycle, wish, announce
    )
