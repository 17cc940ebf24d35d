"""The method of CLIP-ES as pure functions over arrays and tensors, without files or Prefect.

In all docstrings, "the paper" is CLIP-ES (CVPR 2023, arXiv 2212.09506). Equation and section numbers are the paper's.
"The published program" and "the reference" both mean the code that the paper's authors published. A class id is the
position of a class in the vocabulary, counted from 1; id 0 is the background. Axes of arrays are B (batch), K
(classes), C (channels), H and W (pixels), and h and w (patches).
"""
