"""The server: connections are read and written by threads of their own, questions are answered one after the other by one.

That one is the thread that calls `Server.run` (the main thread of `gfqa serve`), so a signal ends it where it stands. A slow or
silent client holds up nobody: its thread waits for it, and the model goes on.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from filelock import FileLock, Timeout

from gfqa.cachestore import fs
from gfqa.errors import Busy, GfqaError
from gfqa.serve import protocol
from gfqa.serve.engine import Engine, Question
from gfqa.serve.protocol import BadFrame
from gfqa.serve.wire import to_wire

CONNECTIONS: Final = 32
"""At most so many at a time, waiting questions included; one more is sent away and answers its question itself."""
REQUEST_SECONDS: Final = 10.0
"""A client that has not sent its request by then is left."""
WRITE_SECONDS: Final = 30.0
"""A client that does not read for so long is left."""
BEAT_SECONDS: Final = 1.0
"""How often a waiting client is told that the server is alive."""

Event = dict[str, Any]


class Cancelled(Exception):
    """Whoever asked is gone."""


class Job:
    """A question on its way through the model: events come out of `events` as frames, the last one final."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.cancelled = False
        self._outbox: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def put(self, event: Event) -> None:
        self._outbox.put(event)

    def events(self, beat: float = BEAT_SECONDS) -> Iterator[Event]:
        """What the model thread put, as it comes; {"type": "wait"} each `beat` seconds without anything."""
        while True:
            try:
                event = self._outbox.get(timeout=beat)
            except queue.Empty:
                event = {"type": "wait"}
            yield event
            if event["type"] in ("answer", "passages", "error", "refused"):
                return

    def check(self) -> None:
        """Cancelled if nobody waits any more."""
        if self.cancelled:
            raise Cancelled

    def on_text(self, text: str) -> None:
        """For the model thread: a piece of the answer. Cancelled if nobody waits any more."""
        self.check()
        self.put({"type": "text", "text": text})


class Server:
    """Answers questions with one engine. `submit` may be called from any thread, `run` from one."""

    def __init__(self, engine: Engine, idle_seconds: float | None = None) -> None:
        self.engine = engine
        self._idle_seconds = idle_seconds
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._used = time.monotonic()
        self._active = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def submit(self, question: Question) -> Job:
        """Queue a question."""
        job = Job(question)
        self._jobs.put(job)
        return job

    @contextlib.contextmanager
    def connection(self) -> Iterator[bool]:
        """Counts whoever is connected, which keeps the server from being idle; False where there are too many."""
        with self._lock:
            self._active += 1
            few = self._active <= CONNECTIONS
        try:
            yield few
        finally:
            with self._lock:
                self._active -= 1
                self._used = time.monotonic()

    def run(self) -> None:
        """Answer questions until `stop`, or until nobody was connected for the idle time."""
        while not self._stopped.is_set():
            try:
                job = self._jobs.get(timeout=0.5)
            except queue.Empty:
                if self._is_idle():
                    return
                continue
            if job is not None:
                job.put(self._answered(job))

    def stop(self) -> None:
        """End `run` after the question at hand."""
        self._stopped.set()
        self._jobs.put(None)

    def status(self) -> Event:
        """What the server says of itself."""
        reader = self.engine.reader
        caches = [list(names) for names in self.engine.loaded]
        return {"model": reader.name, "device": reader.device, "pid": os.getpid(), "caches": caches}

    def _answered(self, job: Job) -> Event:
        """The last event of a job. What is no GfqaError may be a matter of this process alone, so the client tries itself."""
        try:
            job.check()
            if job.question.count is not None or job.question.budget is not None:
                passages = self.engine.passages(job.question)
                return {"type": "passages", "view": to_wire(passages), "json": passages.to_json()}
            answer, document = self.engine.answer(job.question, job.on_text)
            return {"type": "answer", "view": to_wire(answer), "json": document}
        except GfqaError as error:
            return {"type": "error", "code": error.exit_code, "message": error.message, "hint": error.hint}
        except Cancelled:
            return {"type": "refused", "reason": "the question was withdrawn"}
        except Exception as error:
            if isinstance(error, MemoryError | RuntimeError):
                # The memories kept may be what there was no room for.
                self.engine.drop()
            # Its message may hold document text, so only its name is told.
            return {"type": "refused", "reason": f"it failed ({type(error).__name__})"}

    def _is_idle(self) -> bool:
        with self._lock:
            rested = time.monotonic() - self._used
            return self._idle_seconds is not None and not self._active and rested >= self._idle_seconds


@contextlib.contextmanager
def only_one() -> Iterator[Path]:
    """Hold the data directory's place for a server and give the path of its socket, free to bind. Busy if there is one.

    The lock is the kernel's and ends with its process, so what lies at the path is a dead server's and is removed.
    """
    folder, path = protocol.run_folder(), protocol.socket_path()
    protocol.check_length(path)
    fs.make_dir(folder)
    lock = FileLock(folder / "serve.lock", mode=0o600)
    with fs.explained("lock", folder / "serve.lock"):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Busy(
                f"Another gfqa serve runs for {folder.parent}.", hint="It serves every gfqa ask of that data directory."
            ) from None
    try:
        fs.unlink(path)
        yield path
    finally:
        fs.unlink(path)
        lock.release()


@contextlib.contextmanager
def listening(server: Server, path: Path) -> Iterator[None]:
    """The server's socket at `path`, mode 0600, taking connections until the end of the block."""
    mask = os.umask(0o177)
    try:
        with fs.explained("listen at", path):
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(path))
    finally:
        os.umask(mask)
    listener.listen(CONNECTIONS)
    thread = threading.Thread(target=_accept, args=(server, listener), daemon=True, name="gfqa-accept")
    thread.start()
    try:
        if (reason := protocol.distrust(path)) is not None:
            raise GfqaError(f"Clients would not trust this server: {reason}.", hint=f"Run: chmod 700 {path.parent}")
        yield
    finally:
        # shutdown wakes the thread in accept(), close alone would not.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _accept(server: Server, listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(server, connection), daemon=True, name="gfqa-connection").start()


def _serve(server: Server, connection: socket.socket) -> None:
    """One connection: one request, its replies."""
    # A client that broke off or sent nonsense gets no answer; it has one of its own.
    with contextlib.closing(connection), server.connection() as welcome, contextlib.suppress(OSError, BadFrame):
        connection.settimeout(REQUEST_SECONDS)
        if not protocol.is_this_user(connection):
            return
        frame = protocol.receive(connection, protocol.REQUEST_BYTES)
        connection.settimeout(WRITE_SECONDS)
        reason = "too many questions wait for it" if not welcome else protocol.stranger(frame)
        if reason is not None:
            protocol.send(connection, {"type": "refused", "reason": reason})
        elif frame["op"] == "status":
            protocol.send(connection, {"type": "status", **server.status()})
        else:
            _reply(server, connection, frame)


def _reply(server: Server, connection: socket.socket, frame: Event) -> None:
    """Accept or refuse a question, and send what becomes of it."""
    question, reason = asked(server.engine.differs, frame)
    if question is None:
        protocol.send(connection, {"type": "refused", "reason": reason})
        return
    protocol.send(connection, {"type": "accepted"})
    job = server.submit(question)
    try:
        for event in job.events():
            protocol.send(connection, event)
    except BadFrame:
        protocol.send(connection, {"type": "refused", "reason": "its answer is too long"})
    finally:
        job.cancelled = True


def asked(differs: Callable[[str | None, str, Path], str | None], frame: Event) -> tuple[Question | None, str]:
    """The question in a request, or None and why this server is not the one to answer it."""
    match frame:
        case {
            "op": "ask" | "find",
            "question": str(text),
            "caches": list(caches),
            "document": str() | None as encoded,
            "only": list(only),
            "folder": str(folder),
            "model": str() | None as model,
            "device": str(device),
            "require_fresh": bool(require_fresh),
            "options": dict(options),
            "count": int() | None as count,
            "budget": int() | None as budget,
        } if all(isinstance(word, str) for word in (*caches, *only)):
            if (frame["op"] == "find") != (count is not None or budget is not None):
                return None, "it does not understand the request"
        case _:
            return None, "it does not understand the request"
    try:
        document = None if encoded is None else base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        return None, "it does not understand the document"
    if (reason := differs(model, device, Path(folder))) is not None:
        return None, reason
    place = Path(folder), tuple(caches), document, tuple(only), require_fresh
    return Question(text, *place, options, count, budget), ""
