"""Information ceilings: the best policies found that act on what a deployed cell sees.

They are trained with everything the simulator knows, and act on local observations and learned int8
messages that arrive one slot late: what is between them and a planner is skill, not information.
"""
