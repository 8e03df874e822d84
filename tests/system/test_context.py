"""Contexts: what a computation shows, and who takes part in it."""

from dataclasses import replace
from typing import Any, cast

from in4310repro.system.context import Context
from in4310repro.system.numerics import Numerics, activate
from in4310repro.system.processes import ALONE
from in4310repro.system.progress import SILENT


def test_a_context_shows_nothing_or_shares_no_work_where_that_is_asked_for(numerics: Numerics) -> None:
    context = Context(numerics, cast("Any", "a display"), cast("Any", "two processes"))
    assert context.silent() == replace(context, progress=SILENT)
    assert context.alone() == replace(context, processes=ALONE)
    assert Context() == Context(activate(), SILENT, ALONE)
