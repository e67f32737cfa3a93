"""What was done, and whether it is right: the report, the proof, the speed, and the page of them."""
