"""Names → things that can be added: `Registry`.

A thing registers itself by a decorator where it is written. A registry knows the modules of its own package, and those that other
packages name by an entry point of its group, and imports both when somebody first looks into it: nothing lists names twice.

    @FUSIONS.register("late")
    class Late(Fusion): ...

and from outside, in the `pyproject.toml` of another package:

    [project.entry-points."eofuse.fusion"]
    mine = "my_package.fusion"
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Generic, TypeVar

from eofuse.errors import UsageError, did_you_mean

T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """Things of one sort by their names, in the order of their names.

    Args:
        title: what one is called in messages, as "fusion strategy".
        group: of the entry points by which other packages add some, as "eofuse.fusion".
        package: whose modules register those that eofuse has; a module that does so itself, too.
    """

    def __init__(self, title: str, group: str, package: str) -> None:
        self.title = title
        self.group = group
        self.package = package
        self._things: dict[str, T] = {}
        self._homes: dict[str, str] = {}
        self._is_complete = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorates a thing, which is found by this name from then on.

        Raises:
            UsageError: if the name is another's.
        """

        def add(thing: T) -> T:
            self._enter(name, thing, str(getattr(thing, "__module__", "")))
            return thing

        return add

    def add(self, record: T) -> T:
        """Registers a record by its own `name`, as of the module that calls; see `register`."""
        self._enter(str(getattr(record, "name", "")), record, str(sys._getframe(1).f_globals["__name__"]))
        return record

    def _enter(self, name: str, thing: T, home: str) -> None:
        if self._homes.get(name, home) != home:
            found = f"the {self.title} '{name}' is in {self._homes[name]} and in {home}"
            raise UsageError(found, where=self.group, fix="rename one, or uninstall its package")
        self._things[name], self._homes[name] = thing, home

    def check(self, name: str) -> str:
        """The name itself, if it is one; a `ValueError` with the nearest one otherwise: a validator, as pydantic wants it."""
        if name not in self:
            raise ValueError(f"'{name}' is no {self.title}; {self._fix(name)}")
        return name

    def package_of(self, name: str) -> str:
        """Top-level package that registered a name: `eofuse`, or one that was installed beside it."""
        self._complete()
        return self._homes[name].partition(".")[0]

    def __getitem__(self, name: str) -> T:
        self._complete()
        if name not in self._things:
            raise UnknownNameError(f"no {self.title} '{name}'", fix=self._fix(name))
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        self._complete()
        return name in self._things

    def __iter__(self) -> Iterator[str]:
        self._complete()
        return iter(sorted(self._things))

    def __len__(self) -> int:
        self._complete()
        return len(self._things)

    def __repr__(self) -> str:
        return f"<Registry of {len(self)} {self.title}: {', '.join(self)}>"

    def _fix(self, name: str) -> str:
        near = did_you_mean(name, self._things)
        return near if near.startswith("did") else f"{near}; or install the package that adds it"

    def _complete(self) -> None:
        """Imports what registers itself, once."""
        if self._is_complete:
            return
        self._is_complete = True  # before the imports, which may look in here
        try:
            package = import_module(self.package)
            for module in iter_modules(getattr(package, "__path__", ()), f"{self.package}."):
                import_module(module.name)
            for entry in entry_points(group=self.group):
                self._load(entry)
        except BaseException:
            self._is_complete = False
            raise

    def _load(self, entry: EntryPoint) -> None:
        try:
            entry.load()
        except UsageError:
            raise
        except Exception as error:  # whatever a foreign package does at its import
            found = f"the {self.title} '{entry.name}' can't be imported: {type(error).__name__}: {error}"
            raise UsageError(found, where=entry.value, fix="update or uninstall its package") from error


class UnknownNameError(UsageError, KeyError):
    """No thing of a registry has this name; a `KeyError` too, as of any mapping."""

    __str__ = UsageError.__str__
