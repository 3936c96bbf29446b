"""One layer of a KV cache that grows into a preallocated buffer: a new token is written, no old one is copied."""

import torch
from transformers.cache_utils import DynamicLayer


class GrowingLayer(DynamicLayer):
    """transformers' growing layer over a buffer that is larger than what it holds.

    `keys` and `values` are always the filled part, (B, G, T, d), so that whatever knows `DynamicLayer` works.

    Args:
        room: columns to keep free whenever a buffer is made; 0 allocates what is needed and no more.
    """

    def __init__(self, room: int = 0) -> None:
        super().__init__()
        self.room = room
        self._buffers: tuple[torch.Tensor, torch.Tensor] | None = None

    @property
    def buffers(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Keys and values (B, G, capacity, d), of which the first `get_seq_length()` columns are filled."""
        return self._buffers

    def hold(self, keys: torch.Tensor, values: torch.Tensor, filled: int) -> None:
        """Take buffers (B, G, capacity, d) of which the first `filled` columns are in use."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        self._buffers = (keys, values)
        self._show(filled)

    def _show(self, filled: int) -> None:
        assert self._buffers is not None
        self.keys, self.values = (buffer[:, :, :filled] for buffer in self._buffers)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append (B, G, n, d) and return all that is held."""
        held = self.get_seq_length()
        after = held + key_states.shape[2]
        if self._buffers is None or after > self._buffers[0].shape[2] or self._is_frozen():
            self._grow(key_states, after + self.room)
        assert self._buffers is not None
        for buffer, new in zip(self._buffers, (key_states, value_states)):
            buffer[:, :, held:after] = new
        self._show(after)
        return self.keys, self.values

    def _is_frozen(self) -> bool:
        """True for buffers made in inference mode where it is off now: torch lets nobody write into those."""
        return self._buffers is not None and self._buffers[0].is_inference() and not torch.is_inference_mode_enabled()

    def _grow(self, like: torch.Tensor, capacity: int) -> None:
        batch, heads, _, width = like.shape
        held, old = self.get_seq_length(), (self.keys, self.values)
        keys, values = (like.new_empty(batch, heads, capacity, width) for _ in range(2))
        for new, before in zip((keys, values), old):
            if held:
                new[:, :, :held] = before
        self.hold(keys, values, held)

    def _leave_buffers(self) -> None:
        """After rows were moved, keys and values are tensors of their own; the next token makes new buffers."""
        self._buffers = None

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Follow the beams."""
        super().reorder_cache(beam_idx)
        self._leave_buffers()

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row."""
        super().batch_repeat_interleave(repeats)
        self._leave_buffers()

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows."""
        super().batch_select_indices(indices)
        self._leave_buffers()

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._leave_buffers()
