"""What holds for every strategy: bounds, rates, pauses. Each goes from one draft of a decision to the next. Pure."""
