"""Components for segcli: a loss, a metric and a network."""
