"""Other systems: MCP clients, Mixpanel, alerts."""
