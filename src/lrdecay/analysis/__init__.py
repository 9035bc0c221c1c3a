"""Records to evidence: groups, measures, statistics, comparisons, verdicts on claims."""
