"""What the commands and the tools of agents do, as values: nothing here writes on a screen."""
