"""Rules: values in, values out. No clocks, sockets, stores or asyncio."""
