"""What a run leaves behind: results, outcomes, replicates, training logs, and the store that holds them."""
