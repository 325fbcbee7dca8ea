"""Attention-based interactive disentangling network (AINN)."""
