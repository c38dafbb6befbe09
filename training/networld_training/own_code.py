"""A user's own code: loads what is named by module or file, and says where it failed."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any

from networld_runtime.config_table import suggestion
from networld_runtime.errors import ConfigError


def load_object(target: str) -> Any:
    """Return what `package.module:Name` or `folder/file.py:Name` names.

    A file's folder, and the current one for a module, are searched for what it imports.

    Raises:
        ConfigError: The file, module or name is not there, or it cannot be imported.
    """
    where, colon, name = target.rpartition(":")
    if not colon or not where or not name:
        raise ConfigError(target, "expected package.module:Name or file.py:Name")
    module = _load_file(Path(where)) if where.endswith(".py") else _load_module(where)
    if not hasattr(module, name):
        known = [one for one, value in vars(module).items() if isinstance(value, type)]
        raise ConfigError(target, f"{where} has no {name!r}{suggestion(name, known)}")
    return getattr(module, name)


def described(error: BaseException) -> str:
    """Return an error of a user's code with the line where it happened.

    Args:
        error: What was caught; the first frame of its traceback is the caller's and says nothing.
    """
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)[1:]
        if not frame.filename.startswith("<frozen") and frame.filename != importlib.__file__
    ]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ConfigError(str(path), "there is no such file")
    whole = path.resolve()
    # A name of its own, so that no installed module is shadowed and copies can be pickled.
    digest = hashlib.sha256(str(whole).encode()).hexdigest()[:8]
    name = f"{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, whole)
    if specification is None or specification.loader is None:
        raise ConfigError(str(path), "is not a Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    _search(whole.parent)
    try:
        specification.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(str(path), f"cannot be imported, {described(error)}") from error
    return module


def _load_module(name: str) -> ModuleType:
    _search(Path.cwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise ConfigError(
            name,
            f"cannot be imported, {described(error)}; install the package, or name a file, as in "
            "my_file.py:MyClass",
        ) from error


def _search(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
