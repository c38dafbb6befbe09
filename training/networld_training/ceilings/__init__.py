"""Information ceilings: the best policies found that act on what a deployed cell sees.

They are trained with everything the simulator knows, in every network that they are judged in, and act on
local observations and int8 messages, hand-made and learned, that arrive one slot late. They are told which
network they are in. So they show what the information allows, not what a learner reaches that has only
seen the training family.
"""
