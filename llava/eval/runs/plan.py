"""Which questions are answered together: those about one image, without leaving the first ones waiting."""

from collections import OrderedDict, deque
from collections.abc import Hashable, Sequence

from llava.eval.runs.questions import FileVideo, Question


def image_key(question: Question) -> Hashable:
    """What questions about the same picture have in common: its `identity`, or the picture; None: there is none."""
    image = getattr(question.image, "identity", question.image)
    if isinstance(question.image, FileVideo):
        return "video", image  # an animated GIF may be asked about as a picture too
    return image if isinstance(image, Hashable) else id(image)


def plan_batches(keys: Sequence[Hashable], size: int, alone: int | None = None) -> list[list[int]]:
    """Numbers of the questions in each batch.

    A batch begins with the earliest question that is left and takes along others about its image, wherever they stand;
    then the same with the next one, until it is full. So the answers file grows with every batch, and an image's
    questions need `size`-th part as many batches.

    Args:
        keys: for each question the `image_key` of its picture; None is like no other.
        size: questions in a batch, at least 1.
        alone: questions in a batch about one picture, where such batches are cheaper: a picture has its own as long as
            those that are left about it are half a batch of `size`, and at least 2. None: no picture has.
    """
    waiting: dict[Hashable, deque[int]] = {}
    for number, key in enumerate(keys):
        if key is not None:
            waiting.setdefault(key, deque()).append(number)
    planned = [False] * len(keys)
    batches: list[list[int]] = [[]]
    own: list[list[int]] = []
    enough = max(2, -(-size // 2)) if alone is not None else len(keys) + 1
    for number, key in enumerate(keys):
        if planned[number]:
            continue
        queue = waiting[key] if key is not None else deque([number])
        while alone is not None and len(queue) >= enough:
            own.append([queue.popleft() for _ in range(min(alone, len(queue)))])
            for taken in own[-1]:
                planned[taken] = True
        if planned[number]:
            continue  # those that are left about this picture come in their turn
        if len(batches[-1]) == size:
            batches.append([])
        while queue and len(batches[-1]) < size:
            taken = queue.popleft()
            planned[taken] = True
            batches[-1].append(taken)
    return sorted(batch for batch in [*batches, *own] if batch)  # by their earliest questions


def plan_apart(
    keys: Sequence[Hashable], size: int, kinds: Sequence[Hashable], alone: int | None = None
) -> list[list[int]]:
    """`plan_batches` of each kind of question for itself, one kind after the other.

    Args:
        kinds: for each question what it cannot share a batch with others in, such as the schedule it is asked under.
    """
    plan: list[list[int]] = []
    for kind in dict.fromkeys(kinds):
        own = [number for number, other in enumerate(kinds) if other == kind]
        batches = plan_batches([keys[number] for number in own], size, alone)
        plan += [[own[at] for at in batch] for batch in batches]
    return plan


def first_uses(batches: Sequence[Sequence[int]], keys: Sequence[Hashable], room: int) -> list[list[tuple[int, bool]]]:
    """For each question of each batch, whether its picture must be read: not where its prefix will still be kept.

    Follows what a store does that keeps the `room` prefixes used last.
    """
    kept: OrderedDict[Hashable, None] = OrderedDict()
    marked = []
    for batch in batches:
        seen: set[Hashable] = set()
        marks = []
        for number in batch:
            key = keys[number]
            marks.append((number, key is not None and key not in kept and key not in seen))
            seen.add(key)
        for key in dict.fromkeys(keys[number] for number in batch):
            if key is not None:
                kept[key] = None
                kept.move_to_end(key)
        while len(kept) > room:
            kept.popitem(last=False)
        marked.append(marks)
    return marked
