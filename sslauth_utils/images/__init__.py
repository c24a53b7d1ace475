"""Images: any set by its name, as one uint8 tensor, and what is drawn from them for training."""
