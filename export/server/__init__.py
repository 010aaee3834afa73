"""The endpoint of `export.serve`: what answers, by gRPC and by REST."""
