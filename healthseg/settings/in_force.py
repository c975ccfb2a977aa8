"""Which settings are in force, and where each comes from: healthseg.toml, the environment over it, defaults beneath.

The file is named by ``HEALTHSEG_CONFIG``, else it is the ``healthseg.toml`` beside the portfolio. A variable
``HEALTHSEG_<SECTION>__<KEY>`` overrides the file. Secrets come from their variables, or from a TOML file that only
its owner can read (``HEALTHSEG_SECRETS``, else ``healthseg.secrets.toml`` beside healthseg.toml).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from healthseg import settings as config
from healthseg.errors import (
    DataRetrievalError,
    InvalidParameters,
    hint,
    json_of_others,
    require_known,
)
from healthseg.settings import trust
from healthseg.settings.base import merged, toml_content
from healthseg.settings.operator import (
    NAMED,
    SECRETS,
    AlertSettings,
    CacheSettings,
    InputLimits,
    LimitSettings,
    McpSettings,
    MixpanelSettings,
    ReportSettings,
    Secret,
    private,
)

FILE, SECRETS_FILE = "healthseg.toml", "healthseg.secrets.toml"
FILE_VARIABLE, SECRETS_VARIABLE = "HEALTHSEG_CONFIG", "HEALTHSEG_SECRETS"
PREFIX, BETWEEN = "HEALTHSEG_", "__"
SECTIONS: dict[str, type[BaseModel]] = {
    "settings": config.Settings,
    "mixpanel": MixpanelSettings,
    "cache": CacheSettings,
    "limits": LimitSettings,
    "input_limits": InputLimits,
    "mcp": McpSettings,
    "alerts": AlertSettings,
    "reports": ReportSettings,
}
DEFAULT = "default"


@dataclass(frozen=True)
class InForce:
    """The sections as they are, where each value that is no default comes from, and the secrets, which never show."""

    sections: Mapping[str, BaseModel]
    origins: Mapping[str, str]  # "section.key": where from
    overrides: Mapping[
        str, Any
    ]  # [settings] of HEALTHSEG_CONFIG and the environment, over what lies with the data
    _secrets: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self.sections:
            raise AttributeError(name)
        return self.sections[name]

    def secret(self, name: str) -> str | None:
        """A secret's value by ``section.key``: for the one call that needs it."""
        return self._secrets.get(name)

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Every setting with its value and origin; of secrets only whether they are set."""
        for section, values in self.sections.items():
            for key, value in values.model_dump(mode="json").items():
                yield f"{section}.{key}", value, self.origins.get(f"{section}.{key}", DEFAULT)
        for secret in SECRETS:
            there = secret.name in self._secrets
            yield (
                secret.name,
                "set" if there else "not set",
                self.origins.get(secret.name, secret.variable),
            )


def in_force(portfolio: str = "", environment: Mapping[str, str] | None = None) -> InForce:
    """The settings for a portfolio. Raises InvalidParameters for what cannot be, and never with a secret in it.

    >>> in_force(environment={"HEALTHSEG_CACHE__HEALTH_MINUTES": "5"}).cache.health_minutes
    5.0
    """
    environment = os.environ if environment is None else environment
    beside = _folder(portfolio)
    path, content, values, origins = _layers(environment, beside)
    overrides = dict(values["settings"])
    values["settings"] = merged(_of_portfolio(beside, origins), overrides)
    sections = {section: _section(section, values[section], origins) for section in SECTIONS}
    if path:
        trust.require(path, content)
    return InForce(sections, origins, overrides, _secrets(environment, path, beside, origins))


def _layers(
    environment: Mapping[str, str], beside: Path | None
) -> tuple[Path | None, dict[str, Any], dict[str, dict[str, Any]], dict[str, str]]:
    """healthseg.toml, what it holds, each section's values with the environment over it, and where they come from."""
    path = _config_path(environment, beside)
    content = _read(path) if path else {}
    if path:
        _refuse_secrets(content, path)
        trust.require_operators(path, content)
    origins = {
        f"{section}.{key}": str(path) for section, values in content.items() for key in values
    }
    values = {section: dict(content.get(section, {})) for section in SECTIONS}
    for (section, key), (variable, value) in _from_environment(environment).items():
        values[section] = merged(values[section], {key: value})
        origins[f"{section}.{key}"] = f"environment {variable}"
    return path, content, values, origins


def input_limits() -> InputLimits:
    """What a portfolio of others may take: the operator says it, in the environment or the file of HEALTHSEG_CONFIG."""
    _, _, values, origins = _layers(os.environ, None)
    limits = _section("input_limits", values["input_limits"], origins)
    assert isinstance(limits, InputLimits)
    return limits


def schema() -> dict[str, Any]:
    """The JSON Schema of healthseg.toml."""
    sections = {
        name: model.model_json_schema(ref_template=f"#/properties/{name}/$defs/{{model}}")
        for name, model in SECTIONS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": FILE,
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }


def _folder(portfolio: str) -> Path | None:
    """The folder that a portfolio lies in; None for a database address, or where none is named."""
    if not portfolio or "://" in portfolio:
        return None
    path = Path(portfolio).expanduser()
    return path if path.is_dir() else path.parent


def _config_path(environment: Mapping[str, str], beside: Path | None) -> Path | None:
    if environment.get(FILE_VARIABLE):
        named = Path(environment[FILE_VARIABLE]).expanduser()
        if not named.is_file():
            raise DataRetrievalError(
                f"{FILE_VARIABLE} names {named}, which is not a file",
                parameter=FILE_VARIABLE,
                value_provided=str(named),
            )
        return named
    there = beside / FILE if beside else None
    return there if there is not None and there.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    """The sections of a TOML file, each known; what does not parse is not quoted, since it may hold anything."""
    try:
        content = toml_content(path)
    except ValueError as problem:
        where = str(problem).rpartition("(")[2].rstrip(")")
        raise InvalidParameters(
            f"{path.name} is not valid TOML ({where})",
            parameter="settings",
            value_provided=path.name,
            validation_rule="a TOML file in UTF-8",
        ) from None
    for section, values in content.items():
        if section not in SECTIONS or not isinstance(values, dict):
            raise InvalidParameters(
                f"{path.name}: unknown section [{section}]{hint(section, SECTIONS)}",
                parameter="settings",
                value_provided=section,
                validation_rule="the sections are " + ", ".join(SECTIONS),
            )
    return content


def _of_portfolio(beside: Path | None, origins: dict[str, str]) -> dict[str, Any]:
    """The ``[settings]`` of a portfolio.toml, beneath those of healthseg.toml."""
    path = beside / "portfolio.toml" if beside else None
    if path is None or not path.is_file():
        return {}
    try:
        content = toml_content(path)
    except ValueError:
        return {}  # opening the portfolio says what is wrong with it
    trust.require(path, content)
    values = dict(content.get("settings", {}))
    if "metrics" in content:
        values = merged({"metrics": content["metrics"]}, values)
    for key in values:
        origins.setdefault(f"settings.{key}", str(path))
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, Any]]:
    """By section and key, the variable that sets it and its value; unknown names are refused with the nearest."""
    variables: dict[tuple[str, str], tuple[str, Any]] = {}
    for variable, text in environment.items():
        if variable in NAMED and text != "":
            section, key = NAMED[variable]
            variables.setdefault((section, key), (variable, _typed(section, key, text)))
        elif variable.startswith(PREFIX) and BETWEEN in variable:
            section, key = _target(variable)
            variables[section, key] = variable, _typed(section, key, text)
    return variables


def _target(variable: str) -> tuple[str, str]:
    known = {
        f"{PREFIX}{name}{BETWEEN}{each}".upper(): (name, each)
        for name, model in SECTIONS.items()
        for each in model.model_fields
    }
    if variable.upper() not in known:
        raise InvalidParameters(
            f"the environment sets {variable}, which is not a setting{hint(variable, known)}",
            parameter=variable,
            value_provided=variable,
            validation_rule=f"{PREFIX}<SECTION>{BETWEEN}<KEY>; see 'healthseg settings'",
        )
    return known[variable.upper()]


def _typed(section: str, key: str, text: str) -> Any:
    """A variable's text as JSON where that is of the setting's type, else unchanged."""
    try:
        value = json_of_others(text)
        kind: Any = SECTIONS[section].model_fields[key].annotation
        TypeAdapter(kind).validate_python(value)
    except (ValueError, ValidationError):
        return text
    return value


def _section(name: str, values: Mapping[str, Any], origins: Mapping[str, str]) -> BaseModel:
    if name == "settings":
        return config.settings(values)
    model = SECTIONS[name]
    for key in values:
        require_known(
            key, model.model_fields, f"unknown setting {name}.{key}", parameter=f"{name}.{key}"
        )
    try:
        return model(**values)
    except ValidationError as problem:
        first = problem.errors()[0]
        where = f"{name}.{first['loc'][0]}" if first["loc"] else name
        shown = (
            "" if where.endswith("_url") else str(first["input"])[:80]
        )  # an address may hold a password
        raise InvalidParameters(
            f"setting {where} ({origins.get(where, DEFAULT)}): {first['msg']}{f', shown {shown!r}' if shown else ''}",
            parameter=where,
            value_provided=shown or None,
            validation_rule=first["msg"],
        ) from None


def _refuse_secrets(content: Mapping[str, Any], path: Path) -> None:
    for secret in SECRETS:
        if secret.key in content.get(secret.section, {}):
            raise InvalidParameters(
                f"{path.name} holds {secret.name}, which is a secret: set {secret.variable}, or put it into "
                f"{SECRETS_FILE} with mode 0600",
                parameter=secret.name,
                validation_rule=f"{FILE} holds no secrets",
            )
    for name in _written_out(content.get("settings", {})) if not private(path) else ():
        raise InvalidParameters(
            f"{path.name} holds settings.{name}, which is a secret, and others can read it: write $NAME of a variable "
            f"instead, or chmod 600 {path.name}",
            parameter=f"settings.{name}",
            validation_rule="$NAME, or mode 0600",
        )


def _written_out(content: Mapping[str, Any]) -> Iterator[str]:
    """The secrets of the outbox and the ledger that stand in the file itself."""
    for name, handler in _part(_part(content, "outbox"), "handlers").items():
        for key in ("token", "password"):
            if isinstance(handler, Mapping) and not str(handler.get(key, "$")).startswith("$"):
                yield f"outbox.handlers.{name}.{key}"
    address = str(_part(content, "ledger").get("address", "$"))
    if not address.startswith("$") and "@" in address:
        yield "ledger.address"


def _part(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = content.get(key)
    return value if isinstance(value, Mapping) else {}


def _secrets(
    environment: Mapping[str, str], path: Path | None, beside: Path | None, origins: dict[str, str]
) -> dict[str, str]:
    """The secrets that are set: the file's, then the environment's over them."""
    secrets: dict[str, str] = {}
    file = _secrets_path(environment, path, beside)
    if file is not None:
        of_file = _read_secrets(file)
        secrets |= of_file
        origins |= dict.fromkeys(of_file, str(file))
    for secret in SECRETS:
        if environment.get(secret.variable):
            secrets[secret.name] = environment[secret.variable]
            origins[secret.name] = f"environment {secret.variable}"
    return secrets


def _secrets_path(
    environment: Mapping[str, str], path: Path | None, beside: Path | None
) -> Path | None:
    if environment.get(SECRETS_VARIABLE):
        return Path(environment[SECRETS_VARIABLE]).expanduser()
    folder = path.parent if path else beside
    there = folder / SECRETS_FILE if folder else None
    return there if there is not None and there.is_file() else None


def _read_secrets(file: Path) -> dict[str, str]:
    if not file.is_file():
        raise DataRetrievalError(
            f"{SECRETS_VARIABLE} names {file}, which is not a file",
            parameter=SECRETS_VARIABLE,
            value_provided=str(file),
        )
    if not private(file):
        raise InvalidParameters(
            f"others can read {file.name}, which holds secrets: chmod 600 {file.name}",
            parameter=SECRETS_VARIABLE,
            value_provided=file.name,
            validation_rule="mode 0600",
        )
    try:
        content = toml_content(file)
    except ValueError:
        raise InvalidParameters(
            f"{file.name} is not valid TOML",
            parameter=SECRETS_VARIABLE,
            value_provided=file.name,
            validation_rule="a TOML file in UTF-8",
        ) from None
    return dict(_named(content, file))


def _named(content: Mapping[str, Any], file: Path) -> Iterator[tuple[str, str]]:
    known: dict[str, Secret] = {secret.name: secret for secret in SECRETS}
    for section, values in content.items():
        for key, value in values.items() if isinstance(values, dict) else [("", values)]:
            name = f"{section}.{key}"
            if name not in known or not isinstance(value, str):
                raise InvalidParameters(
                    f"{file.name} holds {name!r}, which is not a secret's name{hint(name, known)}",
                    parameter=SECRETS_VARIABLE,
                    value_provided=name,
                    validation_rule="one of " + ", ".join(known),
                )
            yield name, value
