"""What is known of a task function once it is registered, worked out once and not per task."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

from uncalled_for import Dependency, get_annotation_dependencies, get_dependency_parameters, validate_dependencies

from docket_core.annotations import Logged, format_call, logged_parameters
from docket_core.backend.kit import check_label
from docket_core.errors import ConfigurationError

AnyFunction = Callable[..., Any]
_MAKERS = ("docket_core.dependencies.", "uncalled_for.")
"""Where the functions are defined that make a dependency: `Progress`, `Depends` and the like."""


@runtime_checkable
class Particular(Protocol):
    """A dependency that not every function may declare."""

    def check_declared(self, name: str, signature: inspect.Signature, parameter: str | None) -> None:
        """Raises ValueError if it cannot work on this function; `parameter` is the one it is annotated on."""
        ...


class TaskFunction:
    """A function under the name that workers know it by.

    Raises:
        ValueError: its dependencies contradict each other (two of a kind of which there may be one).
        InvalidKey: its name is outside its bounds.
    """

    def __init__(self, name: str, function: AnyFunction) -> None:
        check_label("function name", name)
        validate_dependencies(function)
        self.name = name
        self.function = function
        self.is_async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
            getattr(function, "__call__", None)  # noqa: B004 - asks about the method, not whether it can be called
        )
        self.labels: dict[str, str] = {"docket.task": name}
        self.dependencies: Mapping[str, Dependency[Any]] = get_dependency_parameters(function)
        self.annotated: Mapping[str, list[Dependency[Any]]] = get_annotation_dependencies(function)
        self.has_dependencies = bool(self.dependencies or self.annotated)
        parameters = self.signature.parameters.values()
        self.positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        self._by_keyword = frozenset(p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD))
        self._required = frozenset(
            p.name
            for p in parameters
            if p.default is p.empty
            and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
            and p.name not in self.dependencies
        )
        for declaring in parameters:
            _check_called(name, declaring)
        for parameter, declared in [(None, self.dependencies.values()), *self.annotated.items()]:
            for dependency in declared:
                if isinstance(dependency, Particular):
                    dependency.check_declared(name, self.signature, parameter)
        self._least = next(
            (place for place in range(len(self.positional) + 1) if self._required <= {*self.positional[:place]}), None
        )
        """So many positional arguments are a call without any by keyword; None: there is no such call."""
        self._open = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)

    @cached_property
    def signature(self) -> inspect.Signature:
        """The function's signature."""
        return inspect.signature(self.function)

    @cached_property
    def logged(self) -> Mapping[str, Logged]:
        """The parameters that may be shown in logs."""
        return logged_parameters(self.function)

    def of_kind(self, kind: type[Any]) -> Any | None:
        """The function's dependency of this kind, if it declares one."""
        for dependency in self.all_dependencies():
            if isinstance(dependency, kind):
                return dependency
        return None

    def all_dependencies(self) -> Iterator[Dependency[Any]]:
        """The dependencies among the defaults, then those in annotations."""
        yield from self.dependencies.values()
        for dependencies in self.annotated.values():
            yield from dependencies

    def check_call(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> None:
        """Refuse a call that the function cannot take.

        Raises:
            TypeError: what does not fit, in Python's own words.
        """
        if not self._open:
            given = len(args)
            if not kwargs and self._least is not None and self._least <= given <= len(self.positional):
                return
            fits = given <= len(self.positional)
            if fits and kwargs:
                fits = self._by_keyword >= kwargs.keys() and kwargs.keys().isdisjoint(self.positional[:given])
            if fits and self._required <= {*self.positional[:given], *kwargs}:
                return
        reason = self._misfit(args, kwargs)
        if reason is not None:
            raise TypeError(f"{self.name}{self.signature} does not take this call: {reason}")

    def _misfit(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str | None:
        try:
            self.signature.bind_partial(*args, **kwargs)
        except TypeError as error:
            return str(error)
        missing = self._required - self.arguments(args, kwargs).keys()
        return f"missing a required argument: {min(missing)!r}" if missing else None

    def arguments(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        """The given arguments by their parameters' names; surplus positional ones have none."""
        return {**dict(zip(self.positional, args, strict=False)), **kwargs}

    def call_repr(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> str:
        """The call as text in which only arguments annotated with `Logged` are shown."""
        return format_call(self.name, self.signature, self.logged, args, kwargs)


def _check_called(task: str, parameter: inspect.Parameter) -> None:
    """Refuse a dependency that was named but not made."""
    if not _is_maker(parameter.default):
        return
    made = parameter.default.__name__
    raise ConfigurationError(
        f"the parameter {parameter.name} of {task} has {made} itself as its default; call it: "
        f"{parameter.name} = {made}(…)"
    )


def _is_maker(value: object) -> bool:
    """Whether it makes a dependency when it is called."""
    if inspect.isfunction(value):
        return value.__module__.startswith(_MAKERS)
    return isinstance(value, type) and issubclass(value, Dependency)


class FunctionTable:
    """Names and functions; what `docket.tasks` holds is described when it is first asked for."""

    def __init__(self, tasks: dict[str, AnyFunction]) -> None:
        self.tasks = tasks
        self._described: dict[str, TaskFunction] = {}
        self._names: frozenset[str] = frozenset()
        self.watchers: set[Callable[[], None]] = set()
        """Called when a function has become known."""

    def register(self, function: AnyFunction, names: Iterable[str] | None = None) -> TaskFunction:
        """Make `function` known under its own name, or under `names`.

        Raises:
            ValueError: another function has one of the names.
        """
        chosen = list(names) if names is not None else [_name_of(function)]
        for name in chosen:
            known = self.tasks.get(name)
            if known is not None and known is not function and not _same(known, function):
                raise ConfigurationError(
                    f"two functions are called {name!r}: {_place(known)} and {_place(function)}; "
                    f"register one under another name: docket.register(function, names=[…])"
                )
        described = [TaskFunction(name, function) for name in chosen if self.tasks.get(name) is not function]
        for task in described:
            self.tasks[task.name] = function
            self._described[task.name] = task
        if described:
            for watcher in list(self.watchers):
                watcher()
        return self.described(chosen[0])

    def described(self, name: str) -> TaskFunction:
        """What is known of the function with this name.

        Raises:
            KeyError: there is none.
        """
        task = self._described.get(name)
        if task is not None and self.tasks.get(name) is task.function:
            return task
        if name not in self.tasks:
            raise KeyError(f"no function is registered as {name!r}; register it, or pass the function itself")
        task = self._described[name] = TaskFunction(name, self.tasks[name])
        return task

    def find(self, function: AnyFunction | str) -> TaskFunction:
        """The function of this name, or this function, which is registered if it is not yet."""
        task = self._described.get(getattr(function, "__name__", ""))
        if task is not None and task.function is function and self.tasks.get(task.name) is function:
            return task
        if isinstance(function, str):
            return self.described(function)
        name = _name_of(function)
        if self.tasks.get(name) is function:
            return self.described(name)
        for known, other in list(self.tasks.items()):  # other threads may register meanwhile
            if other is function:
                return self.described(known)
        return self.register(function)

    @property
    def names(self) -> frozenset[str]:
        """All names; the same object as long as they are the same."""
        if self._names != self.tasks.keys():
            self._names = frozenset(self.tasks)
        return self._names


def _name_of(function: AnyFunction) -> str:
    name = getattr(function, "__name__", None)
    if not isinstance(name, str):
        raise ConfigurationError(f"{function!r} has no name; register it with names=[…]")
    return name


def _same(known: AnyFunction, function: AnyFunction) -> bool:
    """Whether this is the same function again: a bound method is a new object at each access."""
    return known == function


def _place(function: AnyFunction) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"


def placeholder(name: str) -> "_Placeholder":
    """Stands for a function that is not registered here."""
    return _Placeholder(name)


class _Placeholder:
    def __init__(self, name: str) -> None:
        self.__name__ = name

    async def __call__(self, *args: object, **kwargs: object) -> None:
        raise KeyError(f"no function is registered as {self.__name__!r}")
