"""From a checkpoint's files to a model: names, places, precision, adapters."""
