"""Experiments as files: which models, which ways of acting, where, how often."""
