"""Load, train and save networks. clipes never executes code that a weights file contains."""
