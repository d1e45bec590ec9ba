"""Crito: a multi-agent prompt optimizer."""
