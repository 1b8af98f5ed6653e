"""uvicorn with our connections and any application, on a free port."""

import socket
from contextlib import asynccontextmanager

import uvicorn
import uvicorn.lifespan.off

from trimaran.server.http.connections import HttpProtocol, StreamProtocol


@asynccontextmanager
async def serving(application):
    """Yield the server; it stops as a node stops it."""
    settings = uvicorn.Config(
        application,
        http=HttpProtocol,
        ws=StreamProtocol,
        loop="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=30,
    )
    settings.load()
    server = uvicorn.Server(settings)
    server.lifespan = uvicorn.lifespan.off.LifespanOff(settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        await server.startup(sockets=[listening])
        try:
            yield server
        finally:
            await server.shutdown()


def port_of(server):
    return server.servers[0].sockets[0].getsockname()[1]
