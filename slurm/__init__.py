"""The implementation of `submit`, `status`, `collect`, `cancel` and `resubmit`: runs on a cluster or this machine."""
