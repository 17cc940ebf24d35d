"""What the method adds to MMSegmentation."""
