"""EmoConv-Diff: diffusion-based emotional voice conversion."""
