"""How fast this computer plans: what `networld-agent bench` measures, and how it is shown."""
