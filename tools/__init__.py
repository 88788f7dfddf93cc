"""Programs around the library: the demonstration, benchmarks, bridges to other frameworks."""
