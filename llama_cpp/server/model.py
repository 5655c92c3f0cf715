"""The models of a server: loaded on demand, used under a lease, unloaded when memory is wanted."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from ..errors import InvalidArgumentError
from ..llama import Llama
from .errors import RequestError
from .loading import load
from .monitor import Monitor
from .runner import ModelRunner
from .settings import ModelSettings, ServerSettings

_LOGGER = logging.getLogger("llama_cpp.server")

__all__ = ["LlamaProxy", "ModelRegistry", "ModelSettings"]


class LlamaProxy:
    """Models by name, one of which is loaded: for programs that use them without a server.

    Args:
        models: The first one is the default, and is loaded now.

    Raises:
        InvalidArgumentError: There is no model.
        LlamaError: The first one cannot be loaded.
    """

    def __init__(self, models: list[ModelSettings]) -> None:
        if not models:
            raise InvalidArgumentError("there is no model: give the settings of one at least")
        self._settings = {
            name: settings for settings in reversed(models) for name in settings.names
        }
        self._default = models[0].names[0]
        self._current: tuple[ModelSettings, Llama] | None = None
        self(self._default)

    def __call__(self, model: str | None = None) -> Llama:
        """Return a model; the default one where there is none of that name."""
        settings = self._settings.get(model or self._default, self._settings[self._default])
        if self._current is None or self._current[0] is not settings:
            self.free()
            self._current = (settings, self.load_llama_from_model_settings(settings))
        return self._current[1]

    def __getitem__(self, model: str) -> ModelSettings:
        return self._settings[model]

    def __setitem__(self, model: str, settings: ModelSettings | str | bytes) -> None:
        if isinstance(settings, str | bytes):
            settings = ModelSettings.model_validate_json(settings)
        self._settings[model] = settings

    def __iter__(self) -> Iterator[str]:
        return iter(self._settings)

    def free(self) -> None:
        """Unload the model that is loaded."""
        if self._current is not None:
            self._current[1].close()
            self._current = None

    @staticmethod
    def load_llama_from_model_settings(settings: ModelSettings) -> Llama:
        """Load a model.

        Raises:
            LlamaError: It cannot be loaded.
        """
        return load(settings)


class ModelRegistry:
    """The models that requests name.

    Args:
        server: Limits.
        models: The first one is the default.
        monitor: Is told what is done.

    Raises:
        InvalidArgumentError: There is no model, or two have the same name.
    """

    def __init__(
        self, server: ServerSettings, models: Sequence[ModelSettings], monitor: Monitor
    ) -> None:
        if not models:
            raise InvalidArgumentError("there is no model: give the settings of one at least")
        self._server = server
        self._monitor = monitor
        self.models = list(models)
        self._by_name: dict[str, ModelSettings] = {}
        for settings in models:
            for name in settings.names:
                if name in self._by_name:
                    raise InvalidArgumentError(
                        f"two models are called {name!r}: give each a model_alias of its own"
                    )
                self._by_name[name] = settings
        self._preloaded: dict[str, Llama] = {}
        self._runners: dict[str, ModelRunner] = {}
        self._sizes: dict[str, int] = {}
        self._loading = asyncio.Lock()
        self._loads: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    @property
    def runners(self) -> dict[str, ModelRunner]:
        """Those that are loaded, by the names of their models."""
        return self._runners

    def name_of(self, model: str | None) -> str:
        """What an answer says the model is: what the request said, as OpenAI's clients expect."""
        return model or self.models[0].names[0]

    def find(self, model: str | None) -> ModelSettings:
        """Return the model that a request means.

        With one model any name will do: some clients have one built in.

        Raises:
            RequestError: There is none of that name.
        """
        if model is None or len(self.models) == 1:
            return self.models[0]
        if model not in self._by_name:
            raise RequestError(
                404,
                f"The model {model!r} does not exist: there are {', '.join(self._by_name)}",
                param="model",
                code="model_not_found",
            )
        return self._by_name[model]

    def llama(self, model: str | None = None) -> Llama:
        """Return a model for work besides the server; it is loaded now, if it is not yet.

        Raises:
            RequestError: There is none of that name.
            LlamaError: It cannot be loaded.
        """
        settings = self.find(model)
        name = settings.names[0]
        if name in self._runners:
            return self._runners[name].llama
        if name not in self._preloaded:
            self._preloaded[name] = load(settings)
        return self._preloaded[name]

    async def begin(self) -> None:
        """Load the default model, so that the first request finds it.

        Raises:
            LlamaError: It cannot be loaded.
        """
        await self.load_default()
        if self._server.idle_unload_seconds is not None:
            self._task = asyncio.create_task(self._unload_idle(self._server.idle_unload_seconds))

    async def load_default(self) -> None:
        """Load the default model, unless it is loaded.

        Raises:
            LlamaError: It cannot be loaded.
        """
        async with self.lease(None):
            pass

    @asynccontextmanager
    async def lease(self, model: str | None) -> AsyncIterator[ModelRunner]:
        """Have a model that is not unloaded meanwhile.

        Raises:
            RequestError: There is none of that name, or no memory for it.
        """
        settings = self.find(model)
        name = settings.names[0]
        while (runner := self._runners.get(name)) is None or runner.is_broken:
            await self._loaded(settings)
        runner.n_leases += 1
        try:
            yield runner
        finally:
            runner.n_leases -= 1
            runner.last_used = time.monotonic()

    async def _loaded(self, settings: ModelSettings) -> None:
        """Wait for a model to be loaded; that goes on if the client leaves, for the next one."""
        name = settings.names[0]
        task = self._loads.get(name)
        if task is None:
            task = self._loads[name] = asyncio.create_task(self._load(settings))
            task.add_done_callback(lambda done: self._loads.pop(name) and _failure_of(done))
        await asyncio.shield(task)

    async def _load(self, settings: ModelSettings) -> None:
        name = settings.names[0]
        async with self._loading:
            if name in self._runners:
                _LOGGER.error("the engine failed in %s, which is loaded anew", name)
                await self._unload(name)
            await self._make_room(self._sizes.get(name) or _file_size(settings.model))
            if name in self._preloaded:
                llama = self._preloaded.pop(name)
            else:
                llama = await asyncio.to_thread(load, settings)
            runner = ModelRunner(
                llama, name=name, max_queue=self._server.max_queue, monitor=self._monitor
            )
            self._sizes[name] = 0 if settings.vocab_only else llama.memory().used
            try:
                await self._make_room(self._sizes[name])
            except RequestError:
                await asyncio.to_thread(runner.close)
                raise
            self._runners[name] = runner

    async def _make_room(self, size: int) -> None:
        """Unload what was used longest ago, until a model fits; nothing if it cannot.

        Raises:
            RequestError: Those that are in use leave no room for it.
        """
        limit = self._server.models_memory_limit
        if limit is None:
            return
        used = sum(self._sizes[name] for name, each in self._runners.items() if each.n_leases)
        if size + used > limit:
            raise RequestError(
                503,
                f"there is no memory for the model now: it takes {size} bytes, models_memory_limit "
                f"is {limit}, and {used} are in use",
            )
        while size + sum(self._sizes[name] for name in self._runners) > limit:
            idle = [name for name, each in self._runners.items() if not each.n_leases]
            await self._unload(min(idle, key=lambda name: self._runners[name].last_used))

    async def _unload(self, name: str) -> None:
        runner = self._runners.pop(name)
        await asyncio.to_thread(runner.close)

    async def _unload_idle(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(min(seconds / 4, 10))
            async with self._loading:
                for name, runner in tuple(self._runners.items()):
                    if not runner.n_leases and time.monotonic() - runner.last_used > seconds:
                        await self._unload(name)

    async def close(self) -> None:
        """Unload all models."""
        if self._task is not None:
            self._task.cancel()
        for name in tuple(self._runners):
            await self._unload(name)
        while self._preloaded:
            self._preloaded.popitem()[1].close()


class RegistryProxy(LlamaProxy):
    """The models of an application, for programs that set something up before it serves.

    Args:
        registry: The application's.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry
        self._settings = {name: each for each in registry.models for name in each.names}

    def __call__(self, model: str | None = None) -> Llama:
        """Return a model; the default one where there is none of that name."""
        return self._registry.llama(model if model in self._settings else None)

    def free(self) -> None:
        """Do nothing: the application unloads its models."""


def _failure_of(task: asyncio.Task[None]) -> BaseException | None:
    """Look at how a load ended: if all who waited for it have left, nobody else does."""
    return None if task.cancelled() else task.exception()


def _file_size(path: str) -> int:
    """What a model takes at least, as far as that is known before it is loaded."""
    try:
        return os.path.getsize(path)
    except OSError:
        return 0
