"""What the papers claim and what the rows say: statistics, measures, rules, verdicts, reasons, the reference."""
