"""From a question file to an answers file: options, questions, loading, batches, and what is written when."""
