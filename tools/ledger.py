"""The one door to every model: cache, budget, limiter, retries, bill and trace around each call.

One row per paid call is the cache, the bill and the trace at the same time. A reply is handed over only when its row is
durable, so a killed process pays twice for nothing but the calls that were in flight.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import string
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa

from crito.errors import BudgetExhausted, CallFailed, ProviderFailure
from crito.protocols import Model, ModelReply, ModelRequest, Usage
from crito.tools import telemetry
from crito.tools.database import Database, calls
from crito.tools.limiter import Limiter
from crito.tools.logs import logger
from crito.tools.meter import Meter, Spend
from crito.tools.prices import Price

_TRIES = {"rate_limit": 8, "server": 5, "timeout": 3, "connection": 5, "garbage": 3, "empty": 2}
_LONGEST_WAIT = 30.0
_DOWN = 6
"""Calls that fail for good in a row, without one success between, before the provider counts as down."""
_LETTERS = (string.ascii_letters + " ").encode()
_FRAME, _PREAMBLE = 8, 32
"""Tokens that a chat template puts around each message, and before the first one."""


@dataclass(frozen=True)
class Call:
    """A reply with the key of its ledger row; ``hit`` tells whether it came from the cache."""

    key: str
    reply: ModelReply
    hit: bool


@dataclass(frozen=True)
class _Answer:
    """How a call ended, after how many attempts; ``lost`` is what those took that brought no reply."""

    reply: ModelReply | None
    error: CallFailed | None
    attempts: int
    lost: Usage


class Ledger:
    """Pays for calls of one run.

    Args:
        database: Where rows are kept; shared by all runs of this file, and so is the cache.
        run: Id of the run that is billed.
        meter: The run's budget.
        limiter: Calls in flight.
        price: Price of a model by name, or None where it is unknown.
        timeout: Seconds that one attempt may take.
        pause: Sleep function, replaced in tests.
    """

    def __init__(
        self,
        database: Database,
        *,
        run: str,
        meter: Meter,
        limiter: Limiter,
        price: Callable[[str], Price | None],
        timeout: float = 300.0,
        pause: Callable[[float], Awaitable[None]] | None = None,
    ) -> None:
        self.database = database
        self.run = run
        self.meter = meter
        self._limiter = limiter
        self._price = price
        self._timeout = timeout
        self._pause = pause or asyncio.sleep
        self._pending: dict[str, asyncio.Future[Call]] = {}
        self._failures = 0
        self._answered = False
        self._down = ""
        self._log = logger("crito.ledger", run=run)
        self._jitter = random.Random(run)  # noqa: S311 - spreads retries, keeps no secret

    async def call(self, model: Model, request: ModelRequest, *, role: str, sample: int = 0) -> Call:
        """Answer from the cache, or pay for the answer once.

        Args:
            model: Who is asked. Its ``identity``, if it has one, tells models of one name apart; answers of a model
                without one are kept for this run alone, because another run may give the name to another model.
            request: The complete request; with ``sample``, the model's name and its identity it is the key.
            role: Who asks: ``target`` or an agent's name.
            sample: Index of the repeat, for noisy models.

        Raises:
            BudgetExhausted: The call does not fit into the budget.
            CallFailed: It failed for good; the failure has its row.
            ProviderFailure: The provider refuses the key, or is down.
        """
        identity = getattr(model, "identity", None)
        key = call_key(model.name, request, sample, self.run if identity is None else identity)
        while (pending := self._pending.get(key)) is not None:
            await asyncio.wait([pending])
            if not pending.cancelled():  # else whoever paid was cancelled, and the first to come here pays instead
                return pending.result()
        found = self._find(key)
        if found is not None:
            self._answered = True
            return Call(key, found, hit=True)
        future: asyncio.Future[Call] = asyncio.get_running_loop().create_future()
        self._pending[key] = future
        try:
            reply = await self._pay(model, request, key, role)
        except BaseException as error:
            if isinstance(error, Exception):
                future.set_exception(error)
                future.exception()  # marks it as seen: waiters still get it, and nobody may be waiting
            else:
                future.cancel()
            raise
        else:
            call = Call(key, reply, hit=False)
            future.set_result(call)
            return call
        finally:
            del self._pending[key]

    def cost(self, usage: Usage, model: str) -> float | None:
        """What so many tokens of a model cost in US dollars, or None where its price is not known."""
        price = self._price(model)
        return price.cost(usage) if price else None

    def _find(self, key: str) -> ModelReply | None:
        rows = self.database.read(_LOOKUP, {"key": key})
        if not rows:
            return None
        row = rows[0]
        usage = Usage(tokens_in=row.tokens_in, tokens_out=row.tokens_out, cached=row.cached)
        tokens = None if row.first_token is None else json.loads(row.first_token)
        return ModelReply(text=row.reply, finish=row.finish, usage=usage, usd=row.usd, first_token=tokens)

    async def _pay(self, model: Model, request: ModelRequest, key: str, role: str) -> ModelReply:
        price = self._price(model.name)
        reserved, spent = _upper_bound(request, price, getattr(model, "headroom", 0)), Spend()
        async with self._limiter:
            self._refuse()
            await self.meter.reserve(reserved)  # not before: calls that only wait their turn would hold the budget
            started, clock = time.time(), time.monotonic()
            try:
                self._refuse()  # once more: the provider may have gone down while this call waited
                answer = await self._attempt(model, request, price)
                self._count(answer.error)
                spent = Spend(1) + (_spend(answer.reply.usage, _usd(answer.reply, price)) if answer.reply else Spend())
            finally:
                self.meter.settle(reserved, spent)
        reply = _billed(answer, price)
        row = {
            "key": key,
            "status": "failed" if answer.error else "ok",
            "run": self.run,
            "span": telemetry.current_span(),
            "role": role,
            "model": model.name,
            "request": request.model_dump_json(exclude_defaults=True),
            "reply": None if answer.error else reply.text,
            "finish": None if answer.error else reply.finish,
            "first_token": None if reply.first_token is None else json.dumps(reply.first_token),
            "error": f"{answer.error.kind}: {answer.error}" if answer.error else None,
            **reply.usage.model_dump(),
            "usd": reply.usd,
            "started": started,
            "seconds": time.monotonic() - clock,
            "attempts": answer.attempts,
        }
        await self.database.write(calls, row)
        if answer.error:
            self._refuse(answer.error)
            raise answer.error
        return reply

    async def _attempt(self, model: Model, request: ModelRequest, price: Price | None) -> _Answer:
        attempt, lost = 0, Usage()
        while True:
            attempt += 1
            try:
                async with asyncio.timeout(min(self._timeout, self.meter.seconds_left())):
                    reply = await model.complete(request)
            except TimeoutError:
                error = CallFailed("timeout", f"{model.name}: no answer within {self._timeout:g} s", retryable=True)
            except CallFailed as failure:
                error = failure
            else:
                self._limiter.succeeded()
                return _Answer(reply, None, attempt, lost)
            if error.kind in ("rate_limit", "server"):
                self._limiter.pushed_back()
            wasted = Usage(tokens_in=error.tokens_in, tokens_out=error.tokens_out)
            lost += wasted
            # Booked at once and on top of the reservation, which the next attempt needs for itself.
            self.meter.settle(Spend(), _spend(wasted, price.cost(wasted) if price else None))
            late = self._down or self.meter.lacking() is not None
            if late or not error.retryable or attempt >= _TRIES.get(error.kind, 1):
                if error.kind == "empty" and not late:
                    # Asked again and still nothing: silence is the model's answer, and is scored as such.
                    return _Answer(ModelReply(text=""), None, attempt, lost)
                return _Answer(None, error, attempt, lost)
            await self._wait(error, model.name, attempt)

    async def _wait(self, error: CallFailed, model: str, attempt: int) -> None:
        wait = error.retry_after or self._jitter.uniform(0.5, 1.0) * min(_LONGEST_WAIT, 0.5 * 2**attempt)
        self._log.debug("retry", model=model, kind=error.kind, attempt=attempt, wait=round(wait, 2))
        await self._pause(min(wait, _LONGEST_WAIT, max(0.0, self.meter.seconds_left())))

    def _refuse(self, cause: CallFailed | None = None) -> None:
        """Make no further call to a provider that is down, nor after the deadline."""
        if self._down:
            raise ProviderFailure(self._down) from cause
        if self.meter.seconds_left() <= 0:
            raise BudgetExhausted("seconds") from cause

    def _count(self, error: CallFailed | None) -> None:
        if error is None:
            self._failures, self._answered = 0, True
        elif error.kind == "auth":
            self._down = f"{error}; mend the key and resume the run"
        elif (error.kind != "bad_request" or not self._answered) and self.meter.seconds_left() > 0:
            # A refused request is its own fault, unless the provider never took one; a call that the deadline cut off
            # says nothing of the provider.
            self._failures += 1
            if self._failures >= _DOWN:
                self._down = f"{_DOWN} calls in a row failed for good, the last with: {error}"


_LOOKUP = sa.select(
    calls.c.reply,
    calls.c.finish,
    calls.c.first_token,
    calls.c.tokens_in,
    calls.c.tokens_out,
    calls.c.cached,
    calls.c.usd,
).where(calls.c.status == "ok", calls.c.key == sa.bindparam("key"))


def call_key(model: str, request: ModelRequest, sample: int, identity: str = "") -> str:
    """Hash of everything that decides the reply; ``identity`` tells models of one name apart."""
    who = f"{model}\n{identity}" if identity else model
    # A request that asks for no log-probabilities has the key that it had before they could be asked for.
    whole = request.model_dump_json(exclude=None if request.top_logprobs else {"top_logprobs"})
    return hashlib.sha256(f"{who}\n{sample}\n{whole}".encode()).hexdigest()[:32]


def paid(database: Database, run: str) -> Spend:
    """What a run has paid so far, from its rows."""
    total = sa.select(
        sa.func.count().label("calls"),
        sa.func.coalesce(sa.func.sum(calls.c.tokens_in + calls.c.tokens_out), 0).label("tokens"),
        sa.func.coalesce(sa.func.sum(calls.c.usd), 0.0).label("usd"),
    ).where(calls.c.run == run)
    row = database.read(total)[0]
    return Spend(row.calls, row.tokens, row.usd)


def _usd(reply: ModelReply, price: Price | None) -> float | None:
    """What the provider says a reply cost, else what the table says."""
    if reply.usd is not None:
        return reply.usd
    return price.cost(reply.usage) if price else None


def _spend(usage: Usage, usd: float | None) -> Spend:
    return Spend(0, usage.tokens_in + usage.tokens_out, usd or 0.0)


def _billed(answer: _Answer, price: Price | None) -> ModelReply:
    """The reply (an empty one for a failure) with all that its call took; the price is None where it is not known."""
    lost = price.cost(answer.lost) if price else 0.0 if answer.lost == Usage() else None
    usd = _usd(answer.reply, price) if answer.reply else 0.0
    reply = answer.reply or ModelReply(text="")
    text = reply.text.encode(errors="replace").decode()  # JSON can carry half a character, which no file can
    total = None if usd is None or lost is None else usd + lost
    return reply.model_copy(update={"text": text, "usage": reply.usage + answer.lost, "usd": total})


def _upper_bound(request: ModelRequest, price: Price | None, headroom: int) -> Spend:
    """The most that one attempt can take: all it may write, and the most tokens that its bytes can make."""
    tokens_in = _PREAMBLE + sum(_most_tokens(message.content) + _FRAME for message in request.messages)
    if request.json_schema is not None:
        tokens_in += _most_tokens(json.dumps(request.json_schema))
    usage = Usage(tokens_in=tokens_in, tokens_out=request.max_tokens + headroom)
    return _spend(usage, price.cost(usage) if price else None) + Spend(calls=1)


def _most_tokens(text: str) -> int:
    """A token for every two English letters; for every byte of all else: digits, signs and rare scripts split so."""
    whole = text.encode(errors="surrogatepass")
    odd = len(whole.translate(None, _LETTERS))
    return odd + (len(whole) - odd + 1) // 2
