"""The blocks of a vision transformer (ViT): their forward pass, their attention, and the gradients of the last one."""
