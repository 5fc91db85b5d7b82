"""Real servers for tests: started on loopback in a folder of their own, and stopped by their process id."""
