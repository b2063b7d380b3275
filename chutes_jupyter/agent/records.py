"""Types that are a handful of simpler values: dates, paths, exact numbers and the like."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import os
import pathlib
import re
import sys
import uuid
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from .refusals import CodecError, Place, malformed, name_of

#: How long the numbers in a fraction or a range may be, in bits: building one from huge numbers
#: takes quadratic time.
MAX_PART = 65536
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


class Record(NamedTuple):
    """How a type comes apart into values that the codec takes, and together again."""

    tag: str
    pack: Callable[[Any], Iterable[Any]]
    unpack: Callable[..., Any]
    #: The types of the packed values: nothing else reaches `unpack`.
    takes: Tuple[Any, ...]


_NONE = type(None)
_PATH = type(pathlib.Path())


def _datetime(date: dt.date, time: dt.time) -> dt.datetime:
    return dt.datetime.combine(date, time)


def _time(hour: int, minute: int, second: int, micro: int, fold: int, zone: Any) -> dt.time:
    return dt.time(hour, minute, second, micro, zone, fold=fold)


def _timezone(offset: dt.timedelta, name: Optional[str]) -> dt.timezone:
    return dt.timezone(offset) if name is None else dt.timezone(offset, name)


def _timezone_args(value: Any) -> Tuple[Any, Any]:
    args = value.__getinitargs__()
    return args[0], args[1] if len(args) > 1 else None


def is_zone(key: str) -> bool:
    """Whether a text can be the name of a time zone, and nothing else.

    It becomes a file name in ZoneInfo, whose own check let some through over the years.
    """
    return len(key) <= 100 and bool(_ZONE_KEY.fullmatch(key))


def _zone(key: str) -> dt.tzinfo:
    if not is_zone(key):
        raise malformed("%.120r is not a time zone" % key)
    try:
        import zoneinfo
    except ImportError as error:
        raise CodecError(
            "the value holds the time zone %s, and Python %d.%d has no zoneinfo: use Python 3.9 "
            "or newer, or a datetime with a UTC offset." % (key, *sys.version_info[:2])
        ) from error
    try:
        return zoneinfo.ZoneInfo(key)
    except (KeyError, ValueError, OSError) as error:
        raise CodecError(
            "the value holds the time zone %s, which is not known here: install tzdata "
            "(pip install tzdata)." % key
        ) from error


def _path_of(flavour: str, text: str) -> pathlib.PurePath:
    if flavour == os.name:
        return pathlib.Path(text)
    return pathlib.PureWindowsPath(text) if flavour == "nt" else pathlib.PurePosixPath(text)


RECORDS: Dict[type, Record] = {
    complex: Record("complex", lambda v: (v.real, v.imag), complex, (float, float)),
    range: Record("range", lambda v: map(int, (v.start, v.stop, v.step)), range, (int,) * 3),
    dt.datetime: Record(
        "datetime",
        lambda v: (v.date(), v.timetz()),
        _datetime,
        (dt.date, dt.time),
    ),
    dt.date: Record("date", lambda v: (v.year, v.month, v.day), dt.date, (int, int, int)),
    dt.time: Record(
        "time",
        lambda v: (v.hour, v.minute, v.second, v.microsecond, v.fold, v.tzinfo),
        _time,
        (int, int, int, int, int, (_NONE, dt.tzinfo)),
    ),
    dt.timedelta: Record(
        "timedelta",
        lambda v: (v.days, v.seconds, v.microseconds),
        dt.timedelta,
        (int, int, int),
    ),
    dt.timezone: Record("timezone", _timezone_args, _timezone, (dt.timedelta, (_NONE, str))),
    decimal.Decimal: Record("decimal", lambda v: (str(v),), decimal.Decimal, (str,)),
    fractions.Fraction: Record(
        "fraction", lambda v: (v.numerator, v.denominator), fractions.Fraction, (int, int)
    ),
    uuid.UUID: Record("uuid", lambda v: (v.hex,), uuid.UUID, (str,)),
    _PATH: Record("path", lambda v: (os.name, str(v)), _path_of, (str, str)),
    pathlib.PurePosixPath: Record("posixpath", lambda v: (str(v),), pathlib.PurePosixPath, (str,)),
    pathlib.PureWindowsPath: Record(
        "windowspath", lambda v: (str(v),), pathlib.PureWindowsPath, (str,)
    ),
}
_ZONE = Record("zone", lambda v: (v.key,), _zone, (str,))
BY_TAG: Dict[str, Record] = {record.tag: record for record in RECORDS.values()}
BY_TAG[_ZONE.tag] = _ZONE


def record_for(kind: type) -> Optional[Record]:
    """Return the record of a type, if it is such a type."""
    record = RECORDS.get(kind)
    if record is None:
        # Importing it takes a while, and who has one has imported it.
        zoneinfo = sys.modules.get("zoneinfo")
        if zoneinfo is not None and kind is zoneinfo.ZoneInfo:
            return _ZONE
    return record


def pack(record: Record, value: Any, place: Place) -> List[Any]:
    """Return the values that a value of this type is made of.

    Raises
    ------
    CodecError
        If a number in it is too long, or it is a time zone without a name.
    """
    parts = list(record.pack(value))
    if any(type(part) is int and part.bit_length() > MAX_PART for part in parts):
        raise CodecError(
            "%s has a number of more than %d bits, which can't travel: pass it as an int."
            % (name_of(place), MAX_PART)
        )
    if record is _ZONE and parts[0] is None:
        raise CodecError(
            "%s is a time zone without a key, which can't travel: use zoneinfo.ZoneInfo(key)."
            % name_of(place)
        )
    return parts


def unpack(record: Record, items: List[Any]) -> Any:
    """Return the value that is made of these.

    Raises
    ------
    CodecError
        If they don't fit the type. Its constructor may raise more: the caller translates that.
    """
    if len(items) != len(record.takes):
        raise malformed("a %s of the wrong length" % record.tag)
    for item, takes in zip(items, record.takes):
        long = type(item) is int and item.bit_length() > MAX_PART
        if long or not isinstance(item, takes):
            raise malformed("a %s of wrong parts" % record.tag)
    return record.unpack(*items)
