"""Stopwatches and counts: time, memory and floating point operations of an answer, part by part."""
