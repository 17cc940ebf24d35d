"""The functions and classes that `import clipes` offers. It is the highest layer: no other code imports it."""
