"""A connected socket to a broker: how it is opened, read in large pieces, and what went wrong in words."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

from networld_runtime.config import BrokerConfig
from networld_runtime.errors import ConfigError
from networld_runtime.mesh.broker_tls import tls_context
from networld_runtime.mesh.publication import Publication, read_publication

PIECE_BYTES = 16 * 1024
"""Of one read; as long as the longest record of TLS, so that nothing is left where no selector sees it."""

UNTRUSTED = {18, 19, 20, 21}
EXPIRED = {9, 10}
WRONG_NAME = {62, 63, 64}
"""Numbers of OpenSSL for why a certificate does not hold."""
NO_TLS = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"}


class BrokerSocket:
    """A socket as paho wants one, which does not block and reads ahead.

    paho asks for the first bytes of a packet one by one; each would be a call of the system.

    Attributes:
        error: What a read or a write failed with; it tells of a refused certificate.
    """

    def __init__(self, opened: socket.socket) -> None:
        self.error: OSError | None = None
        self._socket = opened
        self._data = b""
        self._position = 0
        opened.setblocking(False)

    @property
    def buffered(self) -> bool:
        """Whether something is to be read that the system does not tell of any more."""
        return self._position < len(self._data)

    def recv(self, size: int) -> bytes:
        """Return at most `size` bytes; raises as a socket does."""
        if self._position == len(self._data):
            self._read_ahead()
        begin = self._position
        piece = self._data[begin : begin + size]
        self._position = begin + len(piece)
        return piece

    def take_publication(self, *, properties: bool) -> Publication | None:
        """Return the publication that comes next, if a whole one is there that needs no paho."""
        if self._position == len(self._data):
            with contextlib.suppress(OSError):  # paho meets it again
                self._read_ahead()
        taken = read_publication(self._data, self._position, properties=properties)
        if taken is not None:
            self._position = taken.end
        return taken

    def _read_ahead(self) -> None:
        try:
            self._data = self._socket.recv(PIECE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            raise
        except OSError as error:
            self.error = error
            raise
        self._position = 0

    def send(self, data: bytes | bytearray) -> int:
        """Send what the system takes at once; raises as a socket does."""
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.error = error
            with contextlib.suppress(OSError):  # a last word of the other side may say why
                self._read_ahead()
            raise

    def fileno(self) -> int:
        """Return the descriptor, -1 once closed."""
        return self._socket.fileno()

    def setblocking(self, flag: bool) -> None:
        """Stay without blocking: nobody may wait on the loop's thread."""

    def close(self) -> None:
        """Close it, whatever the other side does."""
        with contextlib.suppress(OSError):
            self._socket.close()


def open_socket(broker: BrokerConfig) -> BrokerSocket:
    """Connect, with TLS if the configuration says so; blocks for up to `connect_timeout_s`.

    The files of TLS are read every time, so that certificates can be exchanged under a running cell.

    Raises:
        ConfigError: A file of TLS is not what it should be.
        OSError: Nobody answers, or TLS fails.
        UnicodeError: The host is no name of a host.
    """
    context = tls_context(broker)
    opened = socket.create_connection((broker.host, broker.port), broker.connect_timeout_s)
    try:
        # With Nagle's algorithm a message waits 8 to 18 ms for nothing.
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context is not None:
            opened = context.wrap_socket(opened, server_hostname=broker.host)
        return BrokerSocket(opened)
    except BaseException:
        opened.close()
        raise


def is_final(error: BaseException) -> bool:
    """Return whether trying again is no use: a certificate does not become right by waiting."""
    return isinstance(error, ssl.SSLCertVerificationError) or _is_about_our_certificate(error)


def explain(error: BaseException, broker: BrokerConfig) -> str:
    """Return what went wrong with a connection and what to do."""
    if isinstance(error, ConfigError):
        return f"cannot be spoken to: {error}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return _explain_certificate(error, broker)
    if isinstance(error, ssl.SSLError):
        return _explain_tls(error)
    if broker.tls_ca_file is not None and isinstance(error, (ConnectionResetError, EOFError)):
        return (
            "ends the connection in TLS: it may refuse our certificate (tls_certificate_file and "
            "tls_key_file under [broker]), or port is not the one for TLS (usually 8883)"
        )
    problem = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return (
        f"cannot connect: {problem}; is the broker running, and are host and port under "
        "[broker] right?"
    )


def _explain_certificate(error: ssl.SSLCertVerificationError, broker: BrokerConfig) -> str:
    if error.verify_code in WRONG_NAME:
        return (
            f"shows a certificate that is not for {broker.host}; set [broker] host to a name in the "
            "certificate, or make one for that name"
        )
    if error.verify_code in EXPIRED:
        return (
            f"shows a certificate that does not hold now ({error.verify_message}); renew it, or set the "
            "clock of this computer"
        )
    if error.verify_code in UNTRUSTED:
        return (
            f"shows a certificate of no authority in {_name(broker.tls_ca_file)}; give the file of the "
            "authority that signed it as [broker] tls_ca_file"
        )
    return f"shows a certificate that does not hold: {error.verify_message}; make it anew"


def _explain_tls(error: ssl.SSLError) -> str:
    reason = str(error.reason or error).replace("_", " ").lower()
    if _is_about_our_certificate(error):
        return (
            f"refuses our certificate ({reason}); give one that its authority signed as [broker] "
            "tls_certificate_file and tls_key_file"
        )
    if error.reason in NO_TLS or isinstance(error, ssl.SSLEOFError):
        return (
            f"speaks no TLS there ({reason}); is [broker] port the one for TLS (usually 8883), or should "
            "tls_ca_file go?"
        )
    return f"and we find no TLS that both speak ({reason}); look into the broker's log"


def _is_about_our_certificate(error: BaseException) -> bool:
    reason = str(getattr(error, "reason", ""))
    return "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason)


def _name(path: Path | None) -> str:
    return "the system" if path is None else str(path)
