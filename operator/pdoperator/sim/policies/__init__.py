"""What a replay compares: one policy a file, its source named. The cluster's own strategies come from planning/."""
