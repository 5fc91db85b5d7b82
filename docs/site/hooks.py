"""What the site needs beyond its settings: pages beside mkdocs.yml, and documents from the top of the repository."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOCS = Path(__file__).resolve().parents[1]
FROM_THE_TOP = ("CHANGELOG.md", "CONTRIBUTING.md")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """MkDocs refuses pages in the folder of its settings, for no reason that holds where they are excluded."""
    config.docs_dir = str(DOCS)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """The changelog and the guide for contributors stand at the top of the repository, where people look for them."""
    for name in FROM_THE_TOP:
        text = (DOCS.parent / name).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=re.sub(r"\]\(docs/", "](", text)))
    return files
