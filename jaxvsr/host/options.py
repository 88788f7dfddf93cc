"""What callers ask for by name."""

from dataclasses import fields

from jaxvsr.errors import UsageError


def chosen(kind: type, given: dict):
    """`kind(**given)`; UsageError that names the choices for what is not one of its fields."""
    known = {field.name for field in fields(kind)}
    if unknown := given.keys() - known:
        raise UsageError(f"no setting {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    return kind(**given)
