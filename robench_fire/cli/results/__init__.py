"""Commands that read what came out: tables, comparisons, verdicts, figures, pages."""
