"""Every error that Crito raises on purpose, in one tree.

``BadInput`` is the user's to mend: one line that names the place and the cure, exit code 2, nothing written.
``ProviderFailure`` is the outside world's: exit code 3, and the run can be resumed.
"""


class CritoError(Exception):
    """Root of all errors raised on purpose; ``exit_code`` is what the command line ends with."""

    exit_code = 1


class BadInput(CritoError):
    """Something the user wrote cannot work; the message says where and how to mend it."""

    exit_code = 2


class PatchRejected(CritoError):
    """An edit cannot be applied: its path does not exist, is frozen, or has the wrong type of value."""


class ProviderFailure(CritoError):
    """A model cannot be reached or refuses; nothing more can be done now, and the run can be resumed."""

    exit_code = 3


class CallFailed(CritoError):
    """One model call failed for good, after its retries. The outcome is *failed*, never a score of zero.

    Attributes:
        kind: ``timeout``, ``rate_limit``, ``server``, ``auth``, ``bad_request``, ``garbage``, ``empty`` or
            ``connection``.
        retryable: Whether the same call may succeed later.
        retry_after: Seconds the provider asked to wait, if it did.
        tokens_in: Tokens that the provider read and bills all the same, as far as it said so.
        tokens_out: Tokens that it wrote.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        *,
        retryable: bool,
        retry_after: float | None = None,
        tokens_in: int = 0,
        tokens_out: int = 0,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.retryable = retryable
        self.retry_after = retry_after
        self.tokens_in = tokens_in
        self.tokens_out = tokens_out

    @property
    def unreached(self) -> bool:
        """Whether the model did not answer at all: it may be down, and nothing was said about the request."""
        return self.kind in {"timeout", "rate_limit", "server", "connection"}


class ReplyUnusable(CritoError):
    """An agent's reply could not be read as its reply model, even after one corrective request."""


class BudgetExhausted(CritoError):
    """The next call does not fit into the budget; ``dimension`` names what ran out."""

    def __init__(self, dimension: str) -> None:
        super().__init__(f"the budget of {dimension} is used up")
        self.dimension = dimension


class Interrupted(CritoError):
    """The run stopped early at the user's wish and can be resumed."""

    exit_code = 130
