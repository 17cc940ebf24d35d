"""The ranking of prompt templates by sharpness: computed, recorded and plotted."""
