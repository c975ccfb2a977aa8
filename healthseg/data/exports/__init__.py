"""From exports to a ``portfolio.toml``: what files hold, which system they are from, how their customers are linked."""
