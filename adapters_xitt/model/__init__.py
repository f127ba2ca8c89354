"""The frozen encoder and the modules in it."""
