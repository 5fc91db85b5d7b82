"""docket-core on the stores that URLs name, as contestants."""

from collections.abc import Sequence

from docket_core.backend.registry import open_backend, plugin_for
from docket_core.backend.url import parse_url
from docket_core.bench.contestants import Contestant, Probe
from docket_core.bench.results import installed


def ours(url: str, name: str | None = None, probe: Probe | None = None, store: str | None = None) -> Contestant:
    """docket-core on the store that `url` names.

    Args:
        name: how it is called in tables; None is the URL's scheme.
        probe: what the store itself can tell, where somebody can ask it.
        store: those of one store are compared with each other; None is the URL's scheme.

    Raises:
        ConfigurationError: the URL, or an option in it, cannot work.
    """
    scheme, plugin = parse_url(url).scheme, plugin_for(url)
    shared = open_backend(url, "bench").capabilities.distributed
    versions = {plugin.driver: installed(plugin.driver)} if plugin.driver else {}
    return Contestant(name or scheme, store or scheme, url, processes=shared, probe=probe, versions=versions)


def side_by_side(urls: Sequence[str]) -> list[Contestant]:
    """A contestant for each URL, with names of their own: `redis`, `redis-2`.

    Raises:
        ConfigurationError: a URL, or an option in it, cannot work.
    """
    seen: dict[str, int] = {}
    made: list[Contestant] = []
    for url in urls:
        scheme = parse_url(url).scheme
        seen[scheme] = seen.get(scheme, 0) + 1
        made.append(ours(url, scheme if seen[scheme] == 1 else f"{scheme}-{seen[scheme]}"))
    return made
