"""A server that tells how much memory it has traced: `forwardpass serve` with one more path, `/traced`."""

import gc
import logging
import tracemalloc

from service.config import load_settings
from service.http.app import create_app
from service.http.configuration import configure
from service.http.listeners import Listeners
from service.http.server import Server


def main() -> None:
    """Serve with the settings of the environment."""
    logging.basicConfig(level=logging.INFO)
    settings = load_settings()
    app = create_app(settings)

    @app.get("/traced")
    async def traced() -> dict[str, int]:
        """Bytes that are in use and the most that were since this was last asked."""
        gc.collect()
        current, peak = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        return {"current": current, "peak": peak}

    tracemalloc.start()
    Server(configure(app)).run(sockets=[Listeners(settings.host, settings.port).of(0)])


if __name__ == "__main__":
    main()
