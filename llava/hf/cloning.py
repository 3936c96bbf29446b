"""Modules that are other objects and the same weights."""

import functools
from typing import Any

# What accelerate leaves on an object to be called for its class's `forward`; a clone of another class has its own.
HOOKED = ("forward", "_old_forward")


def clone(module: Any, kind: type | None = None, **parts: Any) -> Any:
    """Another object with the same tensors and submodules as `module`, which is not changed by what is done to it.

    Args:
        kind: the clone's class; None: the module's.
        parts: submodules to be put in the place of those of that name.
    """
    made: Any = object.__new__(kind or type(module))
    own = dict(module.__dict__)
    for name in HOOKED if kind is not None and kind is not type(module) else ():
        own.pop(name, None)
    made.__dict__.update(own)
    made.__dict__["_modules"] = {**module._modules, **parts}
    return made


def with_part(module: Any, path: str, kind: type, **notes: Any) -> Any:
    """A clone whose submodule at a dotted path is a clone of class `kind`, with `notes` as attributes."""
    first, _, rest = path.partition(".")
    part = module._modules[first]
    if rest:
        return clone(module, **{first: with_part(part, rest, kind, **notes)})
    changed = clone(part, kind)
    changed.__dict__.update(notes)
    return clone(module, **{first: changed})


def mixed(mixin: type, host: type, name: str | None = None) -> type:
    """The class of both, whose methods are the mixin's first."""
    return _mixed(mixin, host, name)


@functools.cache
def _mixed(mixin: Any, host: Any, name: Any) -> type:
    return type(name or f"{mixin.__name__}{host.__name__}", (mixin, host), {"__module__": mixin.__module__})


def under_signature(method: Any, host: Any) -> Any:
    """`method` as a function of its own that shows the signature of the host's, by which others decide what to pass.

    A mixin serves several hosts: what `functools.wraps` writes must not be written on the mixin's own function.
    """

    @functools.wraps(host)
    def own(self: Any, *args: Any, **kwargs: Any) -> Any:
        return method(self, *args, **kwargs)

    return own
