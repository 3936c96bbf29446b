"""The server on Ray Serve: a front that reads requests, and replicas of the server behind it."""
