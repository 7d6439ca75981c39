"""Feature tensors of architectures (ReNAS, section 3.1)."""
