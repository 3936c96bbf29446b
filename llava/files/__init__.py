"""Files at the edge: the one reader of text and JSON, the one opener of pictures, the one writer.

What lies in a file is data. Nothing that is read here chooses code, starts a program, or ends in a traceback.
"""
