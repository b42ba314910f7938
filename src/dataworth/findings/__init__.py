"""What a study found, as tables and sentences. No torch."""
