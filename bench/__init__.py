"""weakloc: a benchmark harness and leaderboard for weakly supervised vision."""
