"""What a training will cost, told before it is started: its parts are timed on the plan's own data and machine."""
