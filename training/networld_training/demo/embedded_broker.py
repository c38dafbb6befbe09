"""The broker that needs no installation: amqtt on loopback, in a process of its own.

    python -m networld_training.demo.embedded_broker --port 0

prints `ready PORT` once it listens, and ends at once when standard input is closed. It is for
demonstrations and tests: no passwords, no encryption, no limit on the size of a payload. A site runs
mosquitto.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys

from amqtt.adapters import StreamReaderAdapter, StreamWriterAdapter
from amqtt.broker import Broker
from amqtt.contexts import BrokerConfig, ListenerConfig, ListenerType

from networld_runtime.errors import BrokerError
from networld_training.demo.tether import when_input_ends

HOST = "127.0.0.1"
READY = "ready"
LISTENER = "default"


def main() -> int:
    """Serve until standard input is closed; return an exit code if that is not possible."""
    parser = argparse.ArgumentParser(description="MQTT broker for demonstrations, loopback only.")
    parser.add_argument("--port", type=int, default=0, help="0 takes any free port (default)")
    arguments = parser.parse_args()
    # amqtt tells of every connection that ends without a goodbye.
    logging.basicConfig(level=logging.CRITICAL)
    # Its orderly shutdown may hang, and there is nothing to save.
    when_input_ends(lambda: os._exit(0))
    try:
        listener = listen(arguments.port)
    except BrokerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    asyncio.run(serve(listener))
    return 0


def listen(port: int) -> socket.socket:
    """Return a socket that listens on loopback; `port` 0 takes any that is free.

    Raises:
        BrokerError: The port is in use or cannot be had.
    """
    try:
        return socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BrokerError(
            f"{HOST}:{port}", f"cannot listen: {reason}; choose another port, or 0 for any"
        ) from error


async def serve(listener: socket.socket) -> None:
    """Serve MQTT 3.1.1 on a listening socket, for ever; say so once it is possible."""
    broker = Broker(
        BrokerConfig(
            # We own the socket: so the port is known, and nothing else is ever opened.
            listeners={LISTENER: ListenerConfig(type=ListenerType.EXTERNAL)},
            # The list replaces amqtt's own, which logs every packet.
            plugins={"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        )
    )
    await broker.start()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio does so itself only for sockets that it has opened; without it 40 ms are lost.
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await broker.external_connected(
            StreamReaderAdapter(reader), StreamWriterAdapter(writer), LISTENER
        )

    server = await asyncio.start_server(connected, sock=listener)
    print(READY, listener.getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    sys.exit(main())
