"""What the published files of each benchmark look like: questions, labels, tables, and the files its server takes."""
