"""What goes in and out of the API, as data: the one place that says which fields there are."""
