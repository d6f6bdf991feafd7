"""What `submit`, `status`, `collect`, `cancel` and `resubmit` do: a product of runs, on a cluster or here."""
