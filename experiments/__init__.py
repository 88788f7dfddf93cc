"""One file a paper: its losses, its phases, and its numbers beside ours."""
