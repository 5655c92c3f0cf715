"""tmp"""

__all__ = []


def find(name, module):
    raise AttributeError(f"module {module!r} has no attribute {name!r}")
