"""One function for each verb, which the command line and Python share."""
