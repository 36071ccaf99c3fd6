"""SPECs: an extractor in one word, ``NAME[:ARG…][,key=value…]``, read and written.

``hog``, ``hog,cell_px=16``, ``bovw:surf``, ``cnn:alexnet:fc7,pooling=gap``. A part that contains
``:`` or ``,`` is quoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featx.engine.registry import (
    _name_of,
    extractor_class,
)
from featx.errors import (
    FeatxError,
    SpecError,
    did_you_mean,
    one_line,
)

_WORDS = {"true": True, "false": False, "none": None}


_QUOTES = "\"'"


def make_extractor(spec: str, **parameters: Any) -> Any:
    """Return the extractor that a SPEC describes.

    Parameters
    ----------
    spec : str
        For example ``hog,cell_px=16``, or the path of a fitted extractor (``.skops``).
    **parameters
        More parameters, such as ``store`` or ``n_jobs``; they override the SPEC's. Those that
        the class does not have are ignored. ``trust`` names files and folders that may name
        code, as in `featx.CNNFeatures`.

    Returns
    -------
    Extractor
        Not fitted, unless `spec` is a ``.skops`` file.

    Raises
    ------
    SpecError
        If the name or a parameter is not known, a value is not allowed, or the SPEC sets how
        images are read, which is not a parameter of extractors: see `featx.extract`.

    Examples
    --------
    >>> make_extractor("color,n_bins=8")
    ColorHistogram(n_bins=8)
    """
    if spec.endswith(".skops"):
        from featx.engine.persistence import load_extractor

        extractor = load_extractor(spec, trust=parameters.get("trust"))
        return extractor.set_params(**_known(type(extractor), parameters))
    name, arguments, named = parse_spec(spec)
    cls = extractor_class(name)
    texts = _by_position(cls, arguments, spec) | named
    _check_names(cls, texts, spec)
    defaults = cls().get_params(deep=False)
    named = {key: parse_value(text, defaults[key]) for key, text in texts.items()}
    return _checked(cls(**(named | _known(cls, parameters))), spec)


def parse_spec(spec: str) -> tuple[str, list[str], dict[str, str]]:
    """Name, arguments by position and parameters by name of a SPEC, all as text.

    Examples
    --------
    >>> parse_spec("cnn:alexnet:-1,pooling=gap")
    ('cnn', ['alexnet', '-1'], {'pooling': 'gap'})
    >>> parse_spec('cnn:"C:/nets/mine":fc7,n=2')
    ('cnn', ['C:/nets/mine', 'fc7'], {'n': '2'})
    """
    head, *pairs = _split(spec, ",")
    name, *arguments = (_unquoted(part) for part in _split(head, ":"))
    if not name:
        raise SpecError(f"SPEC {spec!r} names no extractor; expected NAME[:ARG…][,key=value…].")
    named = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise SpecError(
                f"SPEC {spec!r} has {pair!r} where key=value is expected; "
                "quote a part that contains a comma."
            )
        named[key.strip()] = _unquoted(value)
    return name, arguments, named


def spec_of(extractor: Any, *, is_full: bool = False) -> str:
    """Shortest SPEC that makes an extractor like this one.

    Parameters
    ----------
    extractor : Extractor
    is_full : bool, default=False
        With what a SPEC gives by position spelled out, also where it is the default.

    Examples
    --------
    >>> spec_of(make_extractor("color,n_bins=8"))
    'color:8'
    >>> spec_of(make_extractor("cnn")), spec_of(make_extractor("cnn"), is_full=True)
    ('cnn', 'cnn:featxnet:-1')
    """
    from featx.extractors.base import INPUT_PARAMETERS, SPEED_PARAMETERS

    cls = type(extractor)
    defaults = cls().get_params(deep=False)
    settings = {
        key: value
        for key, value in extractor.get_params(deep=False).items()
        if key not in INPUT_PARAMETERS | SPEED_PARAMETERS and value != defaults[key]
    }
    arguments = []
    for key in cls.positional:
        rest = cls.positional[cls.positional.index(key) :]
        if not is_full and not any(other in settings for other in rest):
            break
        arguments.append(_text(settings.pop(key, defaults[key])))
    pairs = [f"{key}={_text(value)}" for key, value in settings.items()]
    return ",".join([":".join([_name_of(cls), *arguments]), *pairs])


def _by_position(cls: type[Any], arguments: list[str], spec: str) -> dict[str, str]:
    positional: tuple[str, ...] = getattr(cls, "positional", ())
    if len(arguments) > len(positional):
        wanted = ":".join([_name_of(cls), *(f"[{key}]" for key in positional)])
        raise SpecError(
            f"SPEC {spec!r} has {len(arguments)} arguments by position; {wanted} takes at most "
            f"{len(positional)}. Name the others: key=value."
        )
    return {key: text for key, text in zip(positional, arguments) if text}


def _check_names(cls: type[Any], named: Mapping[str, Any], spec: str) -> None:
    from featx.extractors.base import INPUT_PARAMETERS

    if reading := sorted(INPUT_PARAMETERS & named.keys()):
        raise SpecError(
            f"SPEC {spec!r}: {reading[0]} describes the images, not the features, and would change "
            "nothing here. Give it to extract(...) or load_dataset, or in Python to the estimator."
        )
    known = sorted(set(cls._get_param_names()) - INPUT_PARAMETERS)
    for key in named:
        if key not in known:
            guess = did_you_mean(key, known)
            raise SpecError(
                f"SPEC {spec!r}: {_name_of(cls)} has no parameter {key!r}.{guess} "
                f"It has {', '.join(known)}."
            )


def _checked(extractor: Any, spec: str) -> Any:
    """Extractor whose parameters were checked at the door."""
    try:
        extractor._validate_params()
        extractor._check_parameters()
    except FeatxError:
        raise
    except ValueError as error:
        hint = " Several numbers are joined by x, as in 8x3x3." if "'tuple'" in str(error) else ""
        raise SpecError(f"SPEC {spec!r}: {one_line(error)}{hint}") from error
    return extractor


def _known(cls: type[Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in parameters.items() if key in cls._get_param_names()}


def _split(text: str, separator: str) -> list[str]:
    """Parts between separators that stand outside quotes."""
    parts, quote = [""], ""
    for character in text:
        if not quote and character == separator:
            parts.append("")
            continue
        if character == quote:
            quote = ""
        elif not quote and character in _QUOTES:
            quote = character
        parts[-1] += character
    if quote:
        raise SpecError(f"SPEC {text!r} has a {quote} that is not closed.")
    return parts


def _unquoted(part: str) -> str:
    part = part.strip()
    if len(part) > 1 and part[0] in _QUOTES and part[-1] == part[0]:
        return part[1:-1]
    return part


def parse_value(text: str, default: Any) -> Any:
    """Text as a parameter's value: text stays text where the default is text.

    Examples
    --------
    >>> parse_value("256x64", ()), parse_value("none", None), parse_value("8", "auto")
    ((256, 64), None, '8')
    """
    if isinstance(default, str):
        return text
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    numbers = [_number(part) for part in text.split("x")]
    if None in numbers:
        return text
    return tuple(numbers) if len(numbers) > 1 else numbers[0]


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _text(value: Any) -> str:
    """A value as a SPEC has it, such that `parse_value` gives it back."""
    if isinstance(value, tuple):
        return "x".join(map(_text, value))
    if isinstance(value, list):
        return "+".join(map(_text, value))
    if value is None or isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if not set(text) & set(":,\"'"):
        return text
    return f'"{text}"' if '"' not in text else f"'{text}'"
