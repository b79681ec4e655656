"""The tools of agents: designing, checking, explaining, simulating and operating a cache over MCP."""
