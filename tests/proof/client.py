"""What one client does: calls chosen by chance, on material that others made and unmade meanwhile."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from random import Random

from ftc_core.application.context import utc_now
from tests.proof.calls import Calls
from tests.proof.history import (
    Action,
    Answer,
    Block,
    Claim,
    Decide,
    Decision,
    Enroll,
    History,
    LookUp,
    Offer,
    ReadDevice,
    ReadTransfer,
    Register,
    Release,
    Unblock,
)
from tests.proof.scenario import DEVICES, KnownTransfer, Noticeboard, Scenario

__all__ = ["Client"]

_WEIGHTS = {
    "enroll": 16,
    "claim": 22,
    "rush": 2,
    "release": 10,
    "offer": 10,
    "decide": 16,
    "block": 3,
    "unblock": 5,
    "register": 7,
    "read": 14,
}
_WINDOWS_S = (0.3, 0.8, 2.0)
"""How long enrollments and offers stand, where they do not stand for good."""
_OFFER_S = 600.0
_CROWDED = 0.6
"""The share of the calls that crowd upon two devices, for `_CROWDED_S` seconds each time."""
_CROWDED_S = 0.05
_BATCH_MAX = 3


class Client:
    """One client. `random` decides what it does; what others did decides on what."""

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        board: Noticeboard,
        history: History,
        calls: Calls,
        random: Random,
    ) -> None:
        self._name = name
        self._scenario = scenario
        self._board = board
        self._history = history
        self._calls = calls
        self._random = random

    def run(self, count: int) -> None:
        """Do about `count` calls, nearly all of them one after the other."""
        done = 0
        while done < count:
            [kind] = self._random.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))
            device = self._device()
            if kind == "rush":
                done += self._rush(device)
            elif (action := self._choose(kind, device)) is not None:
                self.perform(action)
                done += 1

    def perform(self, action: Action) -> None:
        """Do it, keep it, and tell the others what came of it."""
        answer = self._history.perform(self._name, action, self._calls.act)
        if answer is not None and answer.reason is None:
            self._tell(action, answer)

    # --- choosing ----------------------------------------------------------------------------------

    def _choose(self, kind: str, device: int) -> Action | None:
        match kind:
            case "enroll":
                return Enroll(device, self._account(), self._window())
            case "claim":
                return Claim(device, self._aid(device))
            case "offer":
                return self._offer()
            case "decide":
                return self._decide()
            case "read":
                return self._read(device)
            case "release":
                enrolled = self._board.enrollment(device, self._random)
                return None if enrolled is None else Release(device, *enrolled)
        owned = self._board.device(device, self._random)
        if owned is None:
            return None
        match kind:
            case "block":
                return Block(device, *owned)
            case "unblock":
                return Unblock(device, *owned)
            case _:
                return Register(device, *owned)

    def _rush(self, device: int) -> int:
        """A device and its namesake: whoever has them lets go, one account enrolls both, both come at once.

        Each comes twice, by two servers. Gives the number of calls.
        """
        account, pair = self._account(), (device, device ^ 1 if device ^ 1 < DEVICES else device)
        known = ((number, self._board.enrollment(number, self._random)) for number in pair)
        steps: list[list[Action]] = [
            [Release(number, *enrolled) for number, enrolled in known if enrolled is not None],
            [Enroll(number, account) for number in pair],
            [Claim(number) for number in (*pair, *pair)],
        ]
        with ThreadPoolExecutor(2 * len(pair)) as pool:
            for step in steps:
                list(pool.map(self.perform, step))
        return sum(map(len, steps))

    def _offer(self) -> Action | None:
        owner, receiver = self._random.sample(self._scenario.parties, 2)
        owned = list(self._board.devices_of(owner.id).items())
        chosen = self._random.sample(owned, min(len(owned), self._random.randint(1, _BATCH_MAX)))
        names = {self._scenario.endpoint_name(device) for device, _ in chosen}
        if not chosen or len(names) < len(chosen):  # a refusal names the device by its name
            return None
        return Offer(
            devices=tuple(device for device, _ in chosen),
            device_ids=tuple(device_id for _, device_id in chosen),
            account_id=owner.id,
            receiver_id=receiver.id,
            expires_at=self._window() or utc_now() + timedelta(seconds=_OFFER_S),
        )

    def _decide(self) -> Action | None:
        transfer = self._board.transfer(self._random)
        if transfer is None:
            return None
        decision = self._random.choice([Decision.ACCEPT] * 4 + [Decision.REJECT, Decision.CANCEL])
        who = transfer.account_id if decision is Decision.CANCEL else transfer.receiver_id
        return Decide(transfer.devices, who, transfer.id, decision, transfer.expires_at)

    def _read(self, device: int) -> Action | None:
        transfer, owned = self._board.transfer(self._random), self._board.device(device, self._random)
        which = self._random.randrange(4)
        if which == 0 and transfer is not None:
            who = self._random.choice([transfer.account_id, transfer.receiver_id])
            return ReadTransfer(transfer.devices, who, transfer.id, transfer.expires_at)
        if which == 1 and owned is not None:
            return ReadDevice(device, *owned)
        return LookUp(device, self._account())

    def _device(self) -> int:
        """Mostly one on which all clients are at this moment, or its namesake."""
        if self._random.random() < _CROWDED:
            return (2 * int(time.monotonic() / _CROWDED_S) + self._random.randrange(2)) % DEVICES
        return self._random.randrange(DEVICES)

    def _aid(self, device: int) -> str | None:
        """None of a device fresh from the factory; else mostly that of an owner that it has, or had."""
        chance, owned = self._random.random(), self._board.device(device, self._random)
        if chance < 0.5:
            return None
        return self._account() if owned is None or chance > 0.9 else owned[0]

    def _account(self) -> str:
        """Mostly one that trusts the manufacturer."""
        *trusting, stranger = self._scenario.parties
        return (stranger if self._random.random() < 0.05 else self._random.choice(trusting)).id

    def _window(self) -> datetime | None:
        if self._random.random() < 0.7:
            return None
        return utc_now() + timedelta(seconds=self._random.choice(_WINDOWS_S))

    # --- telling -----------------------------------------------------------------------------------

    def _tell(self, action: Action, answer: Answer) -> None:
        board = self._board
        match action:
            case Enroll(device, account):
                board.note_enrollment(device, account, answer.enrollment_id)
            case LookUp(device, account):
                board.note_enrollment(device, account, answer.enrollment_id)
                if answer.device_id:
                    board.note_device(device, account, answer.device_id)
            case Claim(device):
                board.note_device(device, answer.account_id, answer.device_id)
            case Offer():
                board.note_transfer(
                    KnownTransfer(
                        answer.transfer_id,
                        action.devices,
                        action.account_id,
                        action.receiver_id,
                        action.expires_at,
                    )
                )
            case Decide(decision=Decision.ACCEPT):
                board.note_move(action.devices, action.account_id)
            case _:
                pass
