"""The methods: one file each, found by the registry; `ls` is the list of rows of the leaderboard."""
