"""Radio physics, batch first: geometry, propagation, fading, link, power control. No tasks."""
