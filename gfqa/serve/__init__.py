"""A model kept warm: the server behind a local socket, its client in `gfqa ask`, the HTTP endpoint and the MCP tools.

`protocol`, `wire` and `client` are torch-free: a warm `gfqa ask` must not pay for what the server has loaded already.
"""
