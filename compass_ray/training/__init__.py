"""Learning the routing model from outcomes: needs the extra `train`, is never imported to serve."""
