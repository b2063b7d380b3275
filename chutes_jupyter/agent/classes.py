"""Instances of a person's own classes: enums, dataclasses, named tuples, pydantic models.

Such a value travels as the name of its class and its fields. Reading imports nothing and calls
no constructor, validator or ``__post_init__``: it asks whoever reads for a class that is there
already, makes an empty instance of it, and puts the fields in. Which classes a stranger's bytes
may name is the reader's to say (`Resolver`).
"""

from __future__ import annotations

import enum
import re
import sys
from types import MemberDescriptorType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

from .families import Packed
from .refusals import CodecError, Place, Words, full_name, malformed, name_of

#: Returns the class of a module and qualified name; None where it isn't, or may not be used.
Resolver = Callable[[str, str], Optional[type]]

#: Names longer than this are nobody's.
MAX_NAME = 200
_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(\[[\w., \[\]]*\])?")
#: What a pydantic model has besides its fields.
_MODEL_STATE = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
_NOTHING = object()
_AGAIN = "define it here as the job did, and ask again"


def find(module: str, qualname: str) -> Any:
    """Return what a module that was imported has under a name; None if there is nothing.

    Nothing is computed: neither a module's ``__getattr__`` nor a descriptor is called.
    """
    return within(getattr(sys.modules.get(module), "__dict__", {}), qualname)


def within(namespace: Mapping[str, Any], qualname: str) -> Any:
    """Return what has a qualified name among these names; None if there is nothing."""
    # The name of a generic model with its parameters is one name.
    first, *rest = [qualname] if "[" in qualname else qualname.split(".")
    found = namespace.get(first)
    for part in rest:
        found = vars(found).get(part) if isinstance(found, type) else None
    return found


def _kind_of(kind: type) -> str:
    """Return the tag of a class's instances; nothing for a class that is none of these."""
    if issubclass(kind, enum.Enum):
        return "class.enum"
    if issubclass(kind, tuple):
        names = getattr(kind, "_fields", None)
        named = type(names) is tuple and all(type(name) is str for name in names)
        return "class.tuple" if named else ""
    if type(getattr(kind, "__dataclass_fields__", None)) is dict:
        return "class.data"
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and hasattr(kind, "__pydantic_validator__"):
        return "class.model" if issubclass(kind, pydantic.BaseModel) else ""
    return ""


def _fault(kind: Any, tag: str) -> str:
    """Return why instances can't be made of their fields alone; nothing if they can."""
    if tag == "class.enum":
        return ""
    if hasattr(kind, "__del__"):
        # It would run by itself, with whatever a stranger put into the fields.
        return "has a __del__"
    try:
        if tag == "class.tuple":
            tuple.__new__(kind)
        else:
            object.__new__(kind)
    except TypeError:
        return "is built on another type"
    return ""


def _declared(kind: Any, tag: str) -> List[str]:
    """Return the names of the fields that an instance must have."""
    if tag == "class.tuple":
        return list(kind._fields)
    if tag == "class.model":
        return list(getattr(kind, "__pydantic_fields__", None) or kind.model_fields)
    # Not dataclasses.fields: importing that takes longer than the rest of this program's start.
    fields = kind.__dataclass_fields__
    return [name for name in fields if str(fields[name]._field_type) == "_FIELD"]


def _slots(kind: type) -> Dict[str, Any]:
    return {
        name: member
        for around in reversed(kind.__mro__)
        for name, member in vars(around).items()
        if type(member) is MemberDescriptorType and not name.startswith("__pydantic")
    }


def _of_class(kind: type, name: str) -> Any:
    """Return what a class has under a name, as it stands there."""
    return next((vars(one)[name] for one in kind.__mro__ if name in vars(one)), _NOTHING)


def _may_keep(kind: type, name: str) -> bool:
    """Whether an instance may have an attribute of that name besides its fields.

    Not one that hides a method or is computed: whoever calls it means the class's.
    """
    known = _of_class(kind, name)
    if name.startswith("__"):
        return False
    return known is _NOTHING or not (callable(known) or hasattr(type(known), "__get__"))


# -- Writing -----------------------------------------------------------------------------------


def pack(value: Any, place: Place) -> Optional[Packed]:
    """Return an instance taken apart; None for one that is of no such class.

    Raises
    ------
    CodecError
        If its class can't be found by its name, or the fields are not all there is to it.
    """
    kind: Any = type(value)
    tag = _kind_of(kind)
    if not tag:
        return None
    _check_class(kind, tag, place)
    head: List[Tuple[Any, Any]] = [(None, kind.__module__), (None, kind.__qualname__)]
    if tag == "class.enum":
        name = value._name_
        if name is not None and kind.__members__.get(name) is value:
            return Packed(tag, [*head, (None, name)])
        return Packed("class.flag", [*head, (None, value._value_)])
    fields = _state(value, tag)
    if not _fits(kind, tag, list(fields)):
        raise CodecError(
            "%s is a %s with other attributes than its fields, and can't travel: pass its "
            "fields, as in a dict." % (name_of(place), full_name(kind))
        )
    if tag == "class.model":
        state = [(Words(" (its %s)" % name.strip("_")), name) for name in _MODEL_STATE]
        head += [(step, getattr(value, name)) for step, name in state]
    for name, item in fields.items():
        head += [(None, name), (Words(".%.60s" % name), item)]
    return Packed(tag, head)


def _check_class(kind: type, tag: str, place: Place) -> None:
    instead = "pass its .value" if tag == "class.enum" else "pass its fields, as in a dict"
    fault = _fault(kind, tag)
    if fault:
        why = "%s, and can't travel: %s" % (fault, instead)
    elif "<locals>" in kind.__qualname__:
        why = "is defined inside a function, and can't travel: define it at the top level, or "
        why += instead
    else:
        found = find(kind.__module__, kind.__qualname__)
        if found is kind:
            return
        why = "can't be found under that name: %s" % instead
        if isinstance(found, type):
            why = "was defined anew since: make the value again, or %s" % instead
    raise CodecError("%s is of type %s, which %s." % (name_of(place), full_name(kind), why))


def _state(value: Any, tag: str) -> Dict[str, Any]:
    kind: Any = type(value)
    state = {
        name: item
        for name, item in getattr(value, "__dict__", {}).items()
        # Remembered, and computed again when somebody asks; or a hint for type checkers.
        if type(_of_class(kind, name)).__name__ != "cached_property" and name != "__orig_class__"
    }
    if tag == "class.tuple":
        return {**state, **dict(zip(kind._fields, value))}
    for name, member in _slots(kind).items():
        try:
            state[name] = member.__get__(value, kind)
        except AttributeError:  # never set
            continue
    return state


def _fits(kind: type, tag: str, names: List[str]) -> bool:
    """Whether an instance of a class may have exactly these attributes."""
    declared = _declared(kind, tag)
    if tag != "class.data":
        return sorted(names) == sorted(declared)
    slots = _slots(kind)
    free = [name for name in names if name not in slots]
    if free and not kind.__dictoffset__:
        return False
    extra = [name for name in free if name not in declared]
    return set(declared) <= set(names) and all(_may_keep(kind, name) for name in extra)


# -- Reading -----------------------------------------------------------------------------------


def unpack(tag: str, parts: List[Any], resolve: Optional[Resolver]) -> Any:
    """Return the instance that `pack` took apart, of a class that the reader lets it have.

    Raises
    ------
    CodecError
        If there is no such class here, or its instances have other fields.
    """
    if len(parts) < 2 or not _is_name(parts[0]) or not _is_name(parts[1]):
        raise malformed("a class without a name")
    kind = _class_of(tag, parts[0], parts[1], resolve)
    rest = parts[2:]
    if tag == "class.enum":
        return _member(kind, rest)
    if tag == "class.flag":
        return _flag(kind, rest)
    extras = len(_MODEL_STATE) if tag == "class.model" else 0
    fields = _named(rest[extras:])
    if not _fits(kind, tag, list(fields)):
        raise CodecError(
            "the value holds a %s with the fields %.200s; the class here has %.200s: %s."
            % (parts[1], ", ".join(fields), ", ".join(_declared(kind, tag)), _AGAIN)
        )
    if tag == "class.tuple":
        return tuple.__new__(kind, [fields[name] for name in _declared(kind, tag)])
    if tag == "class.model":
        return _model(kind, rest[:extras], fields)
    return _instance(kind, fields)


def _is_name(text: Any) -> bool:
    return type(text) is str and len(text) <= MAX_NAME and bool(_NAME.fullmatch(text))


def _class_of(tag: str, module: str, qualname: str, resolve: Optional[Resolver]) -> Any:
    kind = resolve(module, qualname) if resolve is not None else None
    if kind is None:
        if module == "__main__":
            what = "%s, a class of the notebook or script that the job is of" % qualname
            todo = "define it here as the job did (run its cell)"
        else:
            what = "%s.%s, which is not a class of your own here" % (module, qualname)
            todo = "import it by name (from %s import %s)" % (module, qualname.partition(".")[0])
        raise CodecError(
            "the value holds a %s: %s, and ask again; or let the function return plain values."
            % (what, todo)
        )
    wanted = "class.enum" if tag == "class.flag" else tag
    if not isinstance(kind, type) or _kind_of(kind) != wanted or _fault(kind, wanted):
        raise CodecError(
            "the value holds a %s, and what has that name here is of another kind: %s."
            % (qualname, _AGAIN)
        )
    return kind


def _member(kind: Any, rest: List[Any]) -> Any:
    if len(rest) != 1 or type(rest[0]) is not str:
        raise malformed("a member without a name")
    if rest[0] not in kind.__members__:
        raise CodecError(
            "the value holds %s.%.60s, which is not in the class here: %s."
            % (kind.__qualname__, rest[0], _AGAIN)
        )
    return kind.__members__[rest[0]]


def _flag(kind: Any, rest: List[Any]) -> Any:
    if len(rest) != 1 or type(rest[0]) is not int or abs(rest[0]) >= 1 << 64:
        raise malformed("a flag without a value")
    if not issubclass(kind, enum.Flag):
        raise malformed("a flag of no Flag")
    return kind(rest[0])


def _named(items: List[Any]) -> Dict[str, Any]:
    names = items[::2]
    if len(items) % 2 or not all(_is_name(name) for name in names):
        raise malformed("a field without a name")
    if len(set(names)) != len(names):
        raise malformed("a field twice")
    return dict(zip(names, items[1::2]))


def _instance(kind: Any, fields: Dict[str, Any]) -> Any:
    made = object.__new__(kind)
    slots = _slots(kind)
    for name, item in fields.items():
        # Past any __setattr__ and descriptor: those may do anything.
        if name in slots:
            slots[name].__set__(made, item)
        else:
            made.__dict__[name] = item
    return made


def _model(kind: Any, state: List[Any], fields: Dict[str, Any]) -> Any:
    given, extra, private = state
    known = set(fields) | set(extra or ())
    if type(given) is not set or not given <= known:
        raise malformed("a model of no fields")
    for part, names in ((extra, None), (private, kind.__private_attributes__)):
        if part is None:
            continue
        if type(part) is not dict or not all(type(name) is str for name in part):
            raise malformed("a model of no fields")
        if names is not None and not set(part) <= set(names):
            raise malformed("a model with private attributes that are not its own")
    made = object.__new__(kind)
    object.__setattr__(made, "__dict__", fields)
    for name, part in zip(_MODEL_STATE, state):
        slot = _of_class(kind, name)
        if type(slot) is MemberDescriptorType:
            slot.__set__(made, part)
        elif part is not None:  # a root model has nothing there
            raise malformed("a model of another kind")
    return made
