"""Where the cells of ended sequences rest until a prompt begins like them: in the KV cache, or copied to host memory.

"host": on a CPU every used cell slows every decode, so they are copied out as soon as that holds up nobody, and put
back when that is quicker than computing them again. While nobody runs the last one stays in the KV cache beside its
copy: whoever begins next, and goes on with it, need not wait for the copy. "device": they stay in the KV cache until
admission needs the room. Which of them go first, and what they may cost, is prefix_cache.py's; this module carries it
out.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import deque
from collections.abc import Sequence as Items

from backends.engine.checkpoints import Checkpoints
from backends.engine.kv_cells import KvCells
from backends.engine.machine import available_memory
from backends.engine.options import EngineOptions
from backends.engine.prefix_cache import Costs, Prefix, PrefixCache, pack
from backends.engine.runner import Runner

MIN_SHARED = 16
"""Tokens in the KV cache below which sharing them is not worth its trouble."""

MIN_RESTORED = 64
"""Tokens below which a copy is neither made nor put back: computing them takes no longer."""

MAX_PAUSE = 0.05
"""Seconds that a copy may hold up those who are being answered. A dearer one waits until nobody is."""

DEFAULT_HOST_BYTES = 256 << 20
"""The limit of the copies where the machine does not say how much memory it has."""


class Residency:
    """The prefixes kept, their slots and cells. On the scheduler's thread only."""

    def __init__(self, runner: Runner, options: EngineOptions) -> None:
        self._runner = runner
        self._kind = runner.residency
        self.cells = KvCells(runner.info.kv_cells)
        self.costs = Costs()
        self.cache = PrefixCache(host_limit(options))
        self.checkpoints = _checkpoints(runner, options)
        self._free = list(range(runner.slots))
        self._fresh: deque[Prefix] = deque()  # kept, and not yet copied out
        self._draft: Prefix | None = None
        self._resting: Prefix | None = None  # copied out, but in the KV cache until somebody begins

    @property
    def available(self) -> int:
        """Cells that can be promised, once kept prefixes have made room."""
        return self.cells.total - self.cells.busy

    @property
    def busy(self) -> int:
        """Cells that running sequences fill."""
        return self.cells.busy_used

    @property
    def keeps(self) -> bool:
        """Whether cells are shared at all."""
        return self._kind != "none"

    @property
    def remembers(self) -> bool:
        """Whether what is computed now may serve a later request."""
        return self.keeps or self.checkpoints is not None

    # ---- slots and cells of running sequences

    def take_slot(self) -> int:
        """An empty slot. There is one for every stream."""
        if not self._free:
            self._evict()
        return heapq.heappop(self._free)

    def promise(self, slot: int, cells: int) -> None:
        """Promise `cells`, of which those that it does not share are `available`, to `slot`."""
        shared = self.cells.shared(slot) if self.cells.is_promised(slot) else 0
        while self.cells.free < cells - shared:
            self._evict()
        self.cells.promise(slot, cells)

    def share(self, giver: int, slot: int, tokens: int, cells: int) -> int:
        """Promise `cells` to the new sequence in `slot`; the first `tokens` are those of `giver`, filled or not.

        Returns how many of them are filled.
        """
        self.cells.join(slot, giver, tokens)
        filled = self.catch_up(slot)
        self.promise(slot, cells)  # this may turn out `giver`, whose cells are held now
        return filled

    def catch_up(self, slot: int) -> int:
        """`slot` takes what others have filled of the cells that it shares. Returns how many tokens it holds now."""
        giver, filled = self.cells.ahead(slot)
        if giver != slot:
            self._runner.share(giver, slot, self.cells.used_by(slot), filled)
            self.cells.fill(slot, filled)
        return filled

    def take_out(self, slot: int, start: int, end: int) -> int | None:
        """Take positions `start` to `end` out of the sequence in `slot`, so that it has as many cells free again.

        Returns how many tokens it holds now. Those behind `end` have moved up; or only what is before `start` is left,
        at most, and the rest has to be computed: where others hold cells behind `start` too, which would move for them
        as well, or the model's memory cannot be moved. None if there are no cells for that; nothing has changed then.
        """
        for prefix in [it for it in self.cache.resident() if self.cells.common(it.slot, slot) > start]:
            self._spill(prefix)
        is_own = self.cells.lent(slot) <= start
        while self.cells.free < self.cells.lent(slot) - start:
            if next(self.cache.resident(), None) is None:
                return None
            self._evict()
        self.cells.detach(slot, start)
        if is_own and self._runner.can_move:
            self._runner.take_out(slot, start, end)
            held = self.cells.used_by(slot) - (end - start)
        else:
            held = start if self._runner.remove(slot, start) else 0
        self.cells.fill(slot, held)
        return held

    def free(self, slot: int) -> None:
        """Empty `slot`."""
        self._runner.remove(slot, 0)
        self.cells.release(slot)
        heapq.heappush(self._free, slot)

    # ---- keeping

    def keep(self, slot: int, tokens: Items[int], partition: str, draft: bool = False, ahead: int = 0) -> None:
        """The sequence in `slot` has ended; its cells hold `tokens`. They are kept, if they may be of use.

        `ahead`: see `Prefix`. A `draft` is soon followed by another, or by the request that it is of: the newest one is
        not copied out.
        """
        self.checkpoint(slot, tokens, partition, draft)
        if not self.keeps or len(tokens) < MIN_SHARED:
            self.free(slot)
            return
        kept = Prefix(partition, pack(tokens), slot, ahead=ahead)
        self.cells.settle(slot)
        for prefix in self.cache.insert(kept):
            self._leave(prefix)
        if kept.slot < 0 or self._kind != "host":
            return
        if draft:
            kept, self._draft = self._draft or kept, kept
        if kept is not self._draft:
            self._fresh.append(kept)

    def checkpoint(self, slot: int, tokens: Items[int], partition: str, draft: bool = False) -> None:
        """Copy the state of the sequence in `slot`, which holds `tokens`, where the model's memory is such a state."""
        if self.checkpoints is None or len(tokens) < MIN_RESTORED:
            return
        packed = pack(tokens)
        if not self.checkpoints.has(partition, packed):
            self.checkpoints.add(partition, packed, self._runner.save(slot), draft)

    def resume(self, slot: int, packed: bytes, partition: str) -> int:
        """Put the state into the empty `slot` that goes furthest into `packed`. Returns how many tokens are there."""
        found = self.checkpoints.find(partition, packed) if self.checkpoints is not None else None
        return found.tokens if found is not None and self._runner.restore(slot, found.state) else 0

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has something to do."""
        return bool(self._fresh)

    def settle(self, idle: bool) -> bool:
        """Copy one prefix out, if that is soon done or the engine is `idle`. False when there is no more to do now.

        One too large for the limit stays in the KV cache until others need its room.
        """
        prefix = self._next_fresh(math.inf if idle else MAX_PAUSE)
        if prefix is None:
            return False
        if idle and not self._fresh:
            self._rest(prefix)
        else:
            self._spill(prefix)
        return True

    def _next_fresh(self, seconds: float) -> Prefix | None:
        """The next one to be copied out, if that takes no longer than `seconds`; it counts as done then."""
        while self._fresh:
            prefix = self._fresh[0]
            size = prefix.tokens * self._runner.info.kv_bytes_per_token
            has_to_go = prefix.slot >= 0 and size <= self.cache.limit
            if has_to_go and size * self.costs.saved_byte > seconds:
                return None
            self._fresh.popleft()
            if has_to_go:
                return prefix
        return None

    def make_way(self, alone: bool = False) -> None:
        """Somebody begins, or goes on, with all that he could share: what rests in the KV cache would slow him.

        So would what has ended just now, and worse: the cells of who begins lie behind it as long as he stays. It goes
        first, however long that takes if he is `alone`: each step would read all of it, which is what a copy does once.
        """
        resting, self._resting = self._resting, None
        if resting is not None and resting.slot >= 0:
            self._spill(resting)
        while prefix := self._next_fresh(math.inf if alone else MAX_PAUSE):
            self._spill(prefix)

    def _rest(self, prefix: Prefix) -> None:
        """Copy `prefix` out and let it stay, the only one that does."""
        self.make_way()
        self._copy(prefix)
        self._resting = prefix

    def _evict(self) -> None:
        """Make room in the KV cache: the least recently used prefix leaves it, for host memory if it fits there."""
        self._spill(next(self.cache.resident()))

    def _spill(self, prefix: Prefix) -> None:
        self._copy(prefix)
        self._leave(prefix)

    def _copy(self, prefix: Prefix) -> None:
        """`prefix` is in host memory from now on; where it cannot be, it is not kept."""
        if prefix.state is None and not self._save(prefix):
            self.cache.remove(prefix)
            self._leave(prefix)

    def _save(self, prefix: Prefix) -> bool:
        """Copy `prefix` to host memory. False when it is not worth it, or does not fit."""
        size = prefix.tokens * self._runner.info.kv_bytes_per_token
        if prefix.tokens < MIN_RESTORED or size > self.cache.limit:
            return False
        self.cache.make_room(size, prefix)  # before the copy is there: together they would exceed the limit
        begun = time.perf_counter()
        state = self._runner.save(prefix.slot)
        self.costs.saved(state.nbytes, time.perf_counter() - begun)
        if not self.cache.make_room(state.nbytes, prefix):
            return False
        self.cache.store(prefix, state, state.nbytes)
        return True

    def _leave(self, prefix: Prefix) -> None:
        """`prefix` gives up its place in the KV cache, if it has one."""
        if prefix.slot >= 0:
            self.free(prefix.slot)
            prefix.slot = -1

    # ---- using

    def find(self, packed: bytes, partition: str) -> tuple[Prefix | None, int]:
        """The prefix to begin `packed` with, and how many of its tokens; None and 0 when computing is as good."""
        prefix, shared = self.cache.match(packed, partition)
        if prefix is None or shared < (MIN_SHARED if prefix.slot >= 0 else MIN_RESTORED):
            return None, 0
        if prefix.slot < 0 and not self.costs.worth_restoring(shared, prefix.state_bytes):
            return None, 0
        self.cache.touch(prefix)
        return prefix, shared

    def is_free_to_go_on(self, prefix: Prefix, tokens: int) -> bool:
        """Whether a sequence may have the cells of `prefix` for its own: nobody else has them, and nothing is lost."""
        return not self.cells.lent(prefix.slot) and (prefix.state is not None or tokens == prefix.tokens)

    def go_on(self, prefix: Prefix, tokens: int, slot: int, cells: int) -> int:
        """A new sequence, which is promised `cells`, goes on where it is with the first `tokens` of `prefix`.

        Nothing is copied. Returns its slot; `slot`, which it was given before, is free again.
        """
        own, prefix.slot = prefix.slot, -1
        if prefix.state is None:
            self.cache.remove(prefix)
        self._runner.remove(own, tokens)
        self.cells.release(own)
        self.promise(own, cells)
        self.cells.fill(own, tokens)
        heapq.heappush(self._free, slot)
        return own

    def restore(self, prefix: Prefix, slot: int, tokens: int) -> int:
        """Put the first `tokens` of the copy of `prefix` into `slot`. Returns how many are there now: all or none.

        The copy is of the whole prefix and needs cells for all of it for a moment.
        """
        while self.cells.total - self.cells.used < prefix.tokens and next(self.cache.resident(), None):
            self._evict()
        if prefix.state is None or self.cells.total - self.cells.used < prefix.tokens:
            return 0
        begun = time.perf_counter()
        if not self._runner.restore(slot, prefix.state):
            return 0
        self._runner.remove(slot, tokens)
        self.costs.restored(prefix.state_bytes, time.perf_counter() - begun)
        return tokens

    def check(self, running: dict[int, int]) -> None:
        """Compare the books with themselves and with llama.cpp; `running`: tokens by slot. Raises AssertionError."""
        kept = {prefix.slot: prefix.tokens for prefix in self.cache.resident()}
        held = {slot: self._runner.positions(slot) for slot in (running | kept)}
        assert held == running | kept, f"llama.cpp holds {held}; running {running}, kept {kept}"
        self.cells.check(held)
        self.cache.check()
        free = {slot: self._runner.positions(slot) for slot in self._free}
        assert not any(free.values()), f"slots nobody uses hold tokens: {free}"
        assert len(free) + len(running) + len(kept) == self._runner.slots


def host_limit(options: EngineOptions) -> int:
    """Bytes that copies may take."""
    if options.kv_host_mib:
        return options.kv_host_mib << 20
    memory = available_memory()
    return DEFAULT_HOST_BYTES if memory is None else memory // 8


def _checkpoints(runner: Runner, options: EngineOptions) -> Checkpoints | None:
    """None where the model's memory can be shared in parts, or nothing is to be kept."""
    wanted = not runner.is_divisible and options.kv_residency != "none"
    return Checkpoints(host_limit(options)) if wanted else None
